"""Rows about money: who pays, what was bought, and what went back. Amounts are in cents, and 1 credit is 1 cent."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models.functions import Coalesce

from accounts.models import User
from core.models import TimeStamped
from credits.kinds import CREDIT
from credits.models.books import Account


def lock_payment(payment_id: str) -> None:
    """Let nobody else work on what belongs to this payment until the transaction ends, whether it has rows or not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"payment:{payment_id}"])


class CustomerQuerySet(models.QuerySet["Customer"]):
    """Questions about customers."""

    def low(self, refused_since: datetime) -> Self:
        """Those whose card is to be charged: they have few credits left, and no charge is open or was just refused."""
        balance = Account.objects.filter(user=models.OuterRef("user")).values("balance")
        charges = TopUp.objects.filter(user=models.OuterRef("user"), kind=TopUpKind.AUTOMATIC)
        open_or_refused = models.Q(status=TopUpStatus.PENDING) | models.Q(
            status=TopUpStatus.FAILED, updated_at__gte=refused_since
        )
        return (
            self.filter(auto_amount__gt=0, user__is_active=True)
            .annotate(balance=Coalesce(models.Subquery(balance), 0))
            .filter(~models.Exists(charges.filter(open_or_refused)), balance__lt=models.F("auto_threshold") * CREDIT)
        )


class Customer(TimeStamped):
    """A user as Stripe knows them, and when their card is charged without being asked.

    Below `auto_threshold` credits, `auto_amount` of them are bought; 0 means never.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    stripe_id = models.CharField(max_length=255, unique=True)
    auto_threshold = models.PositiveBigIntegerField(default=0)
    auto_amount = models.PositiveBigIntegerField(default=0)

    objects = CustomerQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["user"], condition=models.Q(auto_amount__gt=0), name="customers_who_top_up"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(auto_amount=0) | models.Q(auto_amount__gte=models.F("auto_threshold")),
                name="auto_top_up_reaches_its_threshold",
            )
        ]

    def __str__(self) -> str:
        return self.stripe_id


class TopUpKind(models.TextChoices):
    """How credits were bought."""

    CHECKOUT = "checkout"
    AUTOMATIC = "automatic"


class TopUpStatus(models.TextChoices):
    """How far a purchase has come; one that is paid stays so."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


class TopUpQuerySet(models.QuerySet["TopUp"]):
    """Questions about top-ups."""

    def visible_to(self, user: User) -> Self:
        """Those of `user`."""
        return self.filter(user=user.pk)

    def pending(self, kind: "TopUpKind") -> Self:
        """Those of this kind of which nobody knows yet what comes of them."""
        return self.filter(kind=kind, status=TopUpStatus.PENDING)

    def locked(self, **which: Any) -> "TopUp | None":
        """The one that is described so, which nobody else changes until the transaction ends."""
        return self.select_for_update().filter(**which).first()


class TopUp(TimeStamped):
    """A purchase of credits: `amount` of them, for which `paid` cents came in.

    Once paid, `payment_id` names it at Stripe. `cards` are those to charge for an automatic one, in this order, and
    `attempt` what it is tried once for.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.DO_NOTHING, db_constraint=False, related_name="+")
    kind = models.CharField(max_length=10, choices=TopUpKind.choices)
    status = models.CharField(max_length=10, choices=TopUpStatus.choices, default=TopUpStatus.PENDING)
    amount = models.PositiveBigIntegerField()
    paid = models.PositiveBigIntegerField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    checkout_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    payment_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    attempt = models.CharField(max_length=255, null=True, blank=True, unique=True)
    cards = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    failure = models.TextField(blank=True, default="")

    objects = TopUpQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["user", "-created_at"], name="top_ups_of_user"),
            models.Index(fields=["created_at"], condition=models.Q(status="pending"), name="top_ups_pending"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="top_up_has_an_amount"),
            models.CheckConstraint(condition=models.Q(status__in=TopUpStatus.values), name="top_up_status_is_known"),
            models.CheckConstraint(condition=models.Q(kind__in=TopUpKind.values), name="top_up_kind_is_known"),
            models.CheckConstraint(
                condition=models.Q(status="paid", paid__isnull=False, paid_at__isnull=False, payment_id__isnull=False)
                | (~models.Q(status="paid") & models.Q(paid=None, paid_at=None, payment_id=None)),
                name="paid_top_ups_say_what_and_when",
            ),
            models.UniqueConstraint(
                fields=["user"],
                condition=models.Q(kind="automatic", status="pending"),
                name="one_automatic_top_up_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} credits, {self.status}"

    @property
    def key(self) -> str:
        """What it is called in the ledger, and by its owner."""
        return f"topup:{self.payment_id}"


class RefundStatus(models.TextChoices):
    """How far a wish for a refund has come: a person decides, it is sent, and it is done or not."""

    WAITING = "waiting"
    SENDING = "sending"
    REFUNDED = "refunded"
    REJECTED = "rejected"
    FAILED = "failed"


class RefundRequestQuerySet(models.QuerySet["RefundRequest"]):
    """Questions about refund requests."""

    def visible_to(self, user: User) -> Self:
        """Those of `user`."""
        return self.filter(user=user.pk)

    def locked(self, request_id: UUID) -> "RefundRequest | None":
        """This one, which nobody else changes until the transaction ends."""
        return self.select_for_update().filter(pk=request_id).first()


class RefundRequest(TimeStamped):
    """A wish to have `amount` cents of a top-up back; `week` is when the top-up was paid, as year and week."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.DO_NOTHING, db_constraint=False, related_name="+")
    top_up = models.ForeignKey(TopUp, models.PROTECT, related_name="refund_requests")
    amount = models.PositiveBigIntegerField()
    reason = models.TextField()
    result = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, choices=RefundStatus.choices, default=RefundStatus.WAITING)
    week = models.CharField(max_length=7)
    stripe_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, db_constraint=False, null=True, blank=True, related_name="+"
    )

    objects = RefundRequestQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"], name="refund_requests_of_user")]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="refund_request_has_an_amount"),
            models.CheckConstraint(
                condition=models.Q(status__in=RefundStatus.values), name="refund_request_status_is_known"
            ),
            models.UniqueConstraint(
                fields=["user", "week"],
                condition=~models.Q(status="failed"),
                name="one_refund_request_a_week",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} cents, {self.status}"


class Reversal(TimeStamped):
    """A refund or dispute of Stripe's: `amount` cents of a payment that go back, or may.

    `stage` is that of `credits.payments.objects.Stage`. The credits leave the user's balance at `taken_at`, and come
    back at `returned_at` if it came to nothing after all. Without a top-up it belongs to a payment that is not ours, or
    not known yet. `request_id` is that of the refund request that led to it; others were made at Stripe.
    """

    stripe_id = models.CharField(max_length=255, unique=True)
    kind = models.CharField(max_length=10, choices=[("refund", "refund"), ("dispute", "dispute")])
    payment_id = models.CharField(max_length=255, blank=True, default="", db_index=True)
    top_up = models.ForeignKey(TopUp, models.PROTECT, null=True, blank=True, related_name="reversals")
    amount = models.PositiveBigIntegerField()
    stage = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=50, blank=True, default="")
    taken_at = models.DateTimeField(null=True, blank=True)
    returned_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    request_id = models.UUIDField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(returned_at=None) | models.Q(taken_at__isnull=False),
                name="only_what_was_taken_is_returned",
            )
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id}: {self.amount} cents, {self.status}"


class StripeEvent(models.Model):
    """That Stripe told of something; each event counts once."""

    stripe_id = models.CharField(max_length=255, primary_key=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255, db_index=True)
    outcome = models.CharField(max_length=200)
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.type} {self.object_id}"
