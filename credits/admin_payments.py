"""Money in the admin site: to look at, and to decide about refunds."""

from typing import cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from core.admin import ReadOnlyAdmin
from core.errors import DomainError
from credits.admin import Books, whose
from credits.models import Customer, RefundRequest, Reversal, StripeEvent, TopUp
from credits.payments import refunds


class StripesWords(ReadOnlyAdmin):
    """What Stripe told, by its ids."""

    search_help_text = "An id of Stripe's"


@admin.register(TopUp)
class TopUpAdmin(Books):
    """What was bought."""

    list_display = ("created_at", whose, "kind", "status", "amount", "paid", "failure")
    list_filter = ("status", "kind", "created_at")


@admin.register(RefundRequest)
class RefundRequestAdmin(Books):
    """What was asked back: approve and reject it here."""

    list_display = ("created_at", whose, "top_up", "amount", "status", "reason", "result", "decided_by_id")
    list_filter = ("status", "created_at")
    list_select_related = ("top_up",)
    actions = ("approve", "reject")

    @admin.action(description="Approve and send the selected refunds", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: QuerySet[RefundRequest]) -> None:
        """Have Stripe send the money."""
        self._decide(request, queryset, approved=True)

    @admin.action(description="Reject the selected refunds", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[RefundRequest]) -> None:
        """Keep the money."""
        self._decide(request, queryset, approved=False)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    def _decide(self, request: HttpRequest, queryset: QuerySet[RefundRequest], *, approved: bool) -> None:
        decide = refunds.approve if approved else refunds.reject
        count = 0
        for asked in queryset.order_by("created_at", "pk"):
            try:
                decide(asked.pk, cast(User, request.user))
                count += 1
            except DomainError as error:
                self.message_user(request, f"{asked.pk}: {error.message}", messages.ERROR)
        self.message_user(request, f"{count} refunds are {'approved' if approved else 'rejected'}.")


@admin.register(Reversal)
class ReversalAdmin(StripesWords):
    """What went back, or may."""

    list_display = ("created_at", "kind", "stripe_id", "payment_id", "amount", "status", "taken_at", "returned_at")
    list_filter = ("kind", "status", "created_at")
    search_fields = ("stripe_id", "payment_id")


@admin.register(Customer)
class CustomerAdmin(Books):
    """Who pays."""

    list_display = ("user", "stripe_id", "auto_threshold", "auto_amount")
    list_select_related = ("user",)


@admin.register(StripeEvent)
class StripeEventAdmin(StripesWords):
    """What Stripe told."""

    list_display = ("received_at", "type", "object_id", "outcome")
    list_filter = ("type", "received_at")
    ordering = ("-received_at",)
    search_fields = ("stripe_id", "object_id")
