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
from credits.models import Account, Adjustment, Hold, LedgerAudit, PriceEntry, PriceList, Transfer
from credits.price_lists import publish


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


@admin.register(Hold)
class HoldAdmin(Books):
    """What runs have set aside."""

    list_display = ("placed_at", "user_id", "run_id", "credits", "used", "cap", "expires_at", "released_at")
    list_filter = (("released_at", admin.EmptyFieldListFilter), "placed_at")
    search_fields = ("user_id",)
    ordering = ("-placed_at", "pk")

    @admin.display(description="credits")
    def credits(self, hold: Hold) -> str:
        """What is held, in credits."""
        return shown(hold.amount + hold.pool)

    @admin.display(description="used")
    def used(self, hold: Hold) -> str:
        """What was used, in credits."""
        return shown(hold.spent)


@admin.register(PriceEntry)
class PriceEntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """What blocks cost; each change makes a new version of the price list, for runs that start from then on."""

    list_display = ("block", "position", "credits", "per", "match")
    list_filter = ("per",)
    search_fields = ("block",)
    ordering = ("block", "position")

    @admin.display(description="credits", ordering="amount")
    def credits(self, entry: PriceEntry) -> str:
        """The price in credits."""
        return shown(entry.amount)

    def save_model(self, request: HttpRequest, obj: PriceEntry, form: Any, change: bool) -> None:
        """Save the price and publish the list."""
        super().save_model(request, obj, form, change)
        publish(_name(request), f"{'changed' if change else 'added'}: {obj}")

    def delete_model(self, request: HttpRequest, obj: PriceEntry) -> None:
        """Delete the price and publish the list."""
        super().delete_model(request, obj)
        publish(_name(request), f"deleted: {obj}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PriceEntry]) -> None:
        """Delete the prices and publish the list."""
        gone = ", ".join(map(str, queryset))
        super().delete_queryset(request, queryset)
        publish(_name(request), f"deleted: {gone}")


@admin.register(PriceList)
class PriceListAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The versions of the price list: who changed what, and when."""

    list_display = ("id", "made_at", "made_by", "change")
    search_fields = ("made_by", "change")
    ordering = ("-id",)


@admin.register(LedgerAudit)
class LedgerAuditAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """When the books were audited, and what did not fit."""

    list_display = ("at", "mismatches", "accounts", "transfers", "billable_nodes", "payments", "since")
    ordering = ("-id",)


def _name(request: HttpRequest) -> str:
    return cast(User, request.user).email
