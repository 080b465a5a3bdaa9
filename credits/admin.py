"""The books in the admin site: to look at; and changes of balances that wait for a second administrator."""

from typing import Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from core.admin import ReadOnly
from core.errors import DomainError
from credits.adjustments import decide
from credits.errors import shown
from credits.models import Account, Adjustment, Transfer


class Books(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Rows that only services write."""

    show_full_result_count = False
    list_per_page = 50
    search_help_text = "The id of a user, or part of an email address"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows by whose they are."""
        try:
            return queryset.filter(user_id=UUID(search_term.strip())), False
        except ValueError:
            users = User.objects.filter(email__icontains=search_term.strip()).values("pk")[:100]
            return queryset.filter(user_id__in=list(users.values_list("pk", flat=True))), False


@admin.register(Account)
class AccountAdmin(Books):
    """What users can spend."""

    list_display = ("user_id", "credits", "floor", "refilled_on")
    search_fields = ("user_id",)
    ordering = ("-balance", "pk")

    @admin.display(description="credits", ordering="balance")
    def credits(self, account: Account) -> str:
        """The balance in credits."""
        return shown(account.balance)


@admin.register(Transfer)
class TransferAdmin(Books):
    """Every move of credits."""

    list_display = ("at", "user_id", "kind", "debit", "credit", "credits", "reason", "key")
    list_filter = ("kind", "debit", "credit", "at")
    search_fields = ("user_id",)
    ordering = ("-id",)

    @admin.display(description="credits", ordering="amount")
    def credits(self, transfer: Transfer) -> str:
        """The amount in credits."""
        return shown(transfer.amount)


@admin.register(Adjustment)
class AdjustmentAdmin(Books):
    """Changes of balances that need two administrators."""

    list_display = ("asked_at", "user_id", "credits", "reason", "asked_by", "approved", "decided_by", "decided_at")
    list_filter = ("approved", "asked_at")
    search_fields = ("user_id",)
    ordering = ("-asked_at", "pk")
    actions = ("approve", "refuse")

    @admin.display(description="credits", ordering="amount")
    def credits(self, wish: Adjustment) -> str:
        """The change in credits."""
        return shown(wish.amount)

    @admin.action(description="Approve the selected adjustments", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Adjustment]) -> None:
        """Post them, if somebody else asked for them."""
        self._each(request, queryset, approve=True)

    @admin.action(description="Refuse the selected adjustments", permissions=["decide"])
    def refuse(self, request: HttpRequest, queryset: QuerySet[Adjustment]) -> None:
        """Let nothing come of them."""
        self._each(request, queryset, approve=False)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    def _each(self, request: HttpRequest, queryset: QuerySet[Adjustment], *, approve: bool) -> None:
        count = 0
        for wish in queryset.order_by("asked_at", "pk"):
            try:
                decide(cast(User, request.user), wish.pk, approve=approve)
                count += 1
            except DomainError as error:
                self.message_user(request, f"{wish}: {error.message}", messages.ERROR)
        self.message_user(request, f"{count} adjustments are decided.")
