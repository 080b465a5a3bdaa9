"""The books: what each user has, and every transfer that made it so.

A transfer is never changed or deleted; a trigger refuses it. The platform's own accounts have no row: what they hold is
the sum of their transfers, so that no row of theirs is touched by everybody.
"""

from typing import Self
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.core.validators import StepValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import User
from core.ids import uuid7
from credits.errors import shown
from credits.kinds import MOST, MOST_CREDITS, Kind, Party


class AccountQuerySet(models.QuerySet["Account"]):
    """Questions about accounts."""

    def locked(self, user_id: UUID) -> "Account | None":
        """A user's account, if they have one, which nobody else changes until the transaction ends."""
        return self.select_for_update().filter(user_id=user_id).first()


class Account(models.Model):
    """What a user can spend, in micro-credits: all that was transferred to them less all from them and on hold.

    `floor` is how low the balance may be: 0, or as far below as a dispute has put the user in debt; spending never
    lowers it. `refilled_on` is when they last got their monthly credits. The account of a deleted user stays.
    """

    user = models.OneToOneField(
        "accounts.User", models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    balance = models.BigIntegerField(db_default=0)
    floor = models.BigIntegerField(db_default=0)
    refilled_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = AccountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(balance__gte=F("floor")), name="no_balance_is_below_its_floor"),
            models.CheckConstraint(condition=Q(floor__lte=0), name="floors_are_at_most_zero"),
            models.CheckConstraint(condition=Q(balance__lte=MOST, floor__gte=-MOST), name="balances_can_be_counted"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {shown(self.balance)} credits"


class TransferQuerySet(models.QuerySet["Transfer"]):
    """Questions about transfers."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The transfers to and from `user`."""
        return self.filter(user_id=user.pk)


class Transfer(models.Model):
    """Micro-credits that moved from `debit` to `credit`, once per `key`; where either is USER, it is `user_id`'s.

    `run_id` is the run that used them. A check of a card moves nothing and has the amount 0.
    """

    key = models.CharField(max_length=200)
    user_id = models.UUIDField(null=True, blank=True)
    debit = models.CharField(max_length=8, choices=[(party.value, party.value) for party in Party])
    credit = models.CharField(max_length=8, choices=[(party.value, party.value) for party in Party])
    amount = models.BigIntegerField()
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in Kind])
    reason = models.TextField(db_default="", blank=True)
    metadata = models.JSONField(db_default={})
    run_id = models.UUIDField(null=True, blank=True)
    at = models.DateTimeField(db_default=Now())

    objects = TransferQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0) | Q(amount=0, kind=Kind.CARD_CHECK), name="transfers_move_something"
            ),
            # Not `unique`, which would add an index for patterns that nobody looks for.
            models.UniqueConstraint(fields=["key"], name="transfers_are_made_once"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="transfers_have_two_sides"),
            models.CheckConstraint(
                condition=Q(user_id__isnull=False) & (Q(debit=Party.USER) | Q(credit=Party.USER))
                | Q(user_id=None) & ~Q(debit=Party.USER) & ~Q(credit=Party.USER),
                name="transfers_of_users_name_them",
            ),
        ]
        indexes = [
            models.Index(fields=["user_id", "-at", "-id"], name="transfers_of_a_user"),
            models.Index(fields=["run_id"], name="transfers_of_a_run", condition=Q(run_id__isnull=False)),
            models.Index(fields=["user_id", "id"], name="new_transfers_of_a_user"),
            models.Index(fields=["user_id", "-at", "-id"], name="transfers_but_use", condition=~Q(kind=Kind.USAGE)),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.amount)} credits from {self.debit} to {self.credit}"

    @property
    def change(self) -> int:
        """What the transfer did to its user's balance, in micro-credits."""
        return self.amount if self.credit == Party.USER else -self.amount


class DayTotal(models.Model):
    """What the transfers of a user came to on one day of UTC: `change` is in micro-credits, below 0 for what was used.

    What a transfer does not tell, such as the graph of a grant, is empty. Only transfers up to that of `Fold` count.
    """

    user_id = models.UUIDField()
    day = models.DateField()
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in Kind])
    graph_id = models.CharField(max_length=36, blank=True)
    block_id = models.CharField(max_length=36, blank=True)
    model = models.CharField(max_length=200, blank=True)
    api_key_id = models.CharField(max_length=36, blank=True)
    change = models.BigIntegerField()
    count = models.BigIntegerField()

    class Meta:
        verbose_name = "day's total"
        verbose_name_plural = "use by day"
        constraints = [
            models.UniqueConstraint(
                fields=["user_id", "day", "kind", "graph_id", "block_id", "model", "api_key_id"],
                name="one_total_for_each_day_and_use",
            ),
        ]
        indexes = [models.Index(fields=["day"], name="totals_of_a_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.kind}: {shown(self.change)} credits"


class FoldQuerySet(models.QuerySet["Fold"]):
    """Questions about how far the transfers are added up."""

    def locked(self) -> "Fold | None":
        """The row, which nobody else changes until the transaction ends; None if somebody has it."""
        self.bulk_create([Fold(pk=1)], ignore_conflicts=True)
        return self.select_for_update(skip_locked=True).filter(pk=1).first()


class Fold(models.Model):
    """How far the transfers are added up, in the only row: up to the id `done`; `credits.totals` tells how."""

    done = models.BigIntegerField(db_default=0)
    next = models.BigIntegerField(db_default=0)
    before_xid = models.BigIntegerField(db_default=0)

    objects = FoldQuerySet.as_manager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="transfers_are_added_up_once")]

    def __str__(self) -> str:
        return f"up to {self.done}"


class LedgerAudit(models.Model):
    """What an audit of the books looked at, and the `problems` that it found, as sentences, two hundred at most.

    It looked at nodes and charges `since` then, at all of them if that is null. `payments` is null when Stripe was not
    asked or did not answer.
    """

    at = models.DateTimeField(db_default=Now())
    since = models.DateTimeField(null=True, blank=True)
    accounts = models.PositiveBigIntegerField()
    transfers = models.PositiveBigIntegerField()
    billable_nodes = models.PositiveBigIntegerField()
    payments = models.PositiveBigIntegerField(null=True, blank=True)
    problems = models.JSONField(default=list, blank=True)

    class Meta:
        verbose_name = "audit"

    def __str__(self) -> str:
        return f"{self.at}: {self.mismatches} mismatches"

    @property
    def mismatches(self) -> int:
        """How much did not fit, up to as many as are written down."""
        return len(self.problems)


class LowBalance(models.Model):
    """Below how many credits a balance is low, in the only row; without one, 500. A trigger reads it."""

    below = models.PositiveIntegerField(
        default=500,
        validators=[StepValueValidator(10)],
        help_text="Credits, in steps of 10. 0: nobody is told that their balance is low.",
    )

    class Meta:
        verbose_name = "low balance"
        verbose_name_plural = "low balance"
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="one_balance_is_low_for_all"),
            models.CheckConstraint(condition=Q(below__lte=MOST_CREDITS), name="low_balances_can_be_counted"),
            # The trigger looks only when a balance falls below such a step.
            models.CheckConstraint(condition=Q(below=F("below") / 10 * 10), name="low_balances_are_in_steps_of_10"),
        ]

    def __str__(self) -> str:
        return f"below {self.below} credits"


class AdjustmentQuerySet(models.QuerySet["Adjustment"]):
    """Questions about adjustments."""

    def locked(self, adjustment_id: UUID) -> "Adjustment | None":
        """One that nobody else decides until the transaction ends."""
        return self.select_for_update(of=("self",)).filter(pk=adjustment_id).first()


class Adjustment(models.Model):
    """A change of a balance that an administrator asked for, and that needs another one's consent.

    `amount` is in micro-credits, below 0 to take. `approved` is null until somebody decides.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_id = models.UUIDField()
    amount = models.BigIntegerField()
    reason = models.TextField()
    asked_by = models.UUIDField()
    asked_at = models.DateTimeField(db_default=Now())
    approved = models.BooleanField(null=True, blank=True)
    decided_by = models.UUIDField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = AdjustmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="adjustments_change_something"),
            models.CheckConstraint(
                condition=Q(approved=None, decided_by=None)
                | Q(approved=False, decided_by__isnull=False)
                | Q(approved=True, decided_by__isnull=False) & ~Q(decided_by=F("asked_by")),
                name="adjustments_are_approved_by_another",
            ),
        ]

    def __str__(self) -> str:
        return f"{shown(self.amount)} credits for {self.user_id}"
