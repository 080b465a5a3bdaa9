"""What credits are used for, in the admin site: by day as a chart, and each sum."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from core.admin import as_id
from credits.admin import Books, in_credits, whose
from credits.chart import HEIGHT, WIDTH, chart_of
from credits.models import DayTotal, LowBalance
from credits.usage import Period, used_by_day


@admin.register(DayTotal)
class DayTotalAdmin(Books):
    """Sums of transfers, and a chart of the last 30 days: of everybody, or of the one user who was searched for."""

    amounts = ("change",)
    list_display = ("day", whose, "kind", in_credits("change"), "count", "graph_id", "block_id", "model", "api_key_id")
    list_filter = ("kind", "day")
    ordering = ("-day", "change", "pk")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list below the chart."""
        period, user = Period.of(None, None), _searched(request.GET.get("q", "").strip())
        context = {
            "chart": chart_of(used_by_day(period, user.pk if user else None)),
            "period": period,
            "whose": user,
            "width": WIDTH,
            "height": HEIGHT,
        }
        return super().changelist_view(request, {**(extra_context or {}), **context})


@admin.register(LowBalance)
class LowBalanceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Below how many credits people are told; from the next charge on."""

    list_display = ("__str__",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """While there is none."""
        return bool(request.user.is_superuser) and not LowBalance.objects.exists()

    def save_model(self, request: HttpRequest, obj: LowBalance, form: Any, change: bool) -> None:
        """Keep it as the only one."""
        obj.pk = 1
        super().save_model(request, obj, form, change)


def _searched(text: str) -> User | None:
    """The one user whom a search means, if it means one."""
    if "\0" in text:
        return None
    if wanted := as_id(text):
        return User.objects.filter(pk=wanted).first()
    found = list(User.objects.filter(email__icontains=text).order_by("pk")[:2]) if text else []
    return found[0] if len(found) == 1 else None
