"""The books in the admin site: to look at; and changes of balances that wait for a second administrator."""

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from accounts.models import User
from core.admin import ReadOnlyAdmin, as_id
from core.errors import DomainError
from credits.adjustments import decide
from credits.errors import shown
from credits.models import Account, Adjustment, Hold, LedgerAudit, Transfer

Column = Callable[[Any], str]


@cache
def in_credits(field: str) -> Column:
    """What shows micro-credits in credits."""

    @admin.display(description=f"{field} (credits)", ordering=field)
    def column(row: Any) -> str:
        amount = getattr(row, field)
        return "-" if amount is None else shown(amount)

    return column


@admin.display(description="user", ordering="user_id")
def whose(row: Any) -> str:
    """The email of whose row it is; their id when they are gone."""
    return str(row.email_of_user or row.user_id or "-")


@cache
def by_email(field: str) -> Column:
    """What shows whose id a field is, by the email that `Books.people` has it annotated with."""

    @admin.display(description=field.replace("_", " "), ordering=field)
    def column(row: Any) -> str:
        return str(getattr(row, f"email_of_{field}") or getattr(row, field) or "-")

    return column


class Books(ReadOnlyAdmin):
    """Rows that only services write.

    `amounts` names those of their fields that are in micro-credits, `people` those that are ids of other users.
    """

    amounts: ClassVar[tuple[str, ...]] = ()
    people: ClassVar[tuple[str, ...]] = ()
    ids = ("user_id",)
    search_fields = ("user_id",)
    search_help_text = "The id of a user, or part of an email address"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """All rows, each with the email of whose it is and of the other people in it."""
        rows: QuerySet[Any] = super().get_queryset(request)
        emails = {f"email_of_{field}": _email_of(field) for field in self.people}
        named: QuerySet[Any] = rows.annotate(email_of_user=_email_of("user_id"), **emails)
        return named

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """All fields, amounts in credits and people by their email."""
        shown_by = dict.fromkeys(self.amounts, in_credits) | dict.fromkeys(self.people, by_email)
        names = [str(name) for name in super().get_fields(request, obj)]
        return [shown_by[name](name) if name in shown_by else name for name in names]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows by whose they are; all when nothing is searched for."""
        email = search_term.strip()
        if not email or as_id(email):
            return super().get_search_results(request, queryset, email)
        users = User.objects.filter(email__icontains=email).values_list("pk", flat=True)[:100]
        return queryset.filter(user_id__in=list(users)), False


def _email_of(field: str) -> Subquery:
    return Subquery(User.objects.filter(pk=OuterRef(field)).values("email"))


@admin.register(Account)
class AccountAdmin(Books):
    """What users can spend."""

    amounts = ("balance", "floor")
    list_display = (whose, in_credits("balance"), in_credits("floor"), "refilled_on")
    ordering = ("-balance", "pk")


@admin.register(Transfer)
class TransferAdmin(Books):
    """Every move of credits."""

    amounts = ("amount",)
    list_display = ("at", whose, "kind", "debit", "credit", in_credits("amount"), "reason", "key")
    list_filter = ("kind", "debit", "credit", "at")


@admin.register(Adjustment)
class AdjustmentAdmin(Books):
    """Changes of balances that need two administrators."""

    amounts = ("amount",)
    people = ("asked_by", "decided_by")
    list_display = (
        "asked_at", whose, in_credits("amount"), "reason", by_email("asked_by"), "approved", by_email("decided_by"),
        "decided_at",
    )  # fmt: skip
    list_filter = ("approved", "asked_at")
    ordering = ("-asked_at", "pk")
    actions = ("approve", "refuse")

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

    amounts = ("amount", "pool", "spent", "taken", "cap")
    list_display = (
        "placed_at", whose, "run_id", "held", in_credits("spent"), in_credits("cap"), "expires_at", "released_at",
    )  # fmt: skip
    list_filter = (("released_at", admin.EmptyFieldListFilter), "placed_at")
    ordering = ("-placed_at", "pk")

    @admin.display(description="held (credits)")
    def held(self, hold: Hold) -> str:
        """What the run, and its family, may still use."""
        return shown(hold.amount + hold.pool)


@admin.register(LedgerAudit)
class LedgerAuditAdmin(ReadOnlyAdmin):
    """When the books were audited, and what did not fit."""

    list_display = ("at", "mismatches", "accounts", "transfers", "billable_nodes", "payments", "since")
