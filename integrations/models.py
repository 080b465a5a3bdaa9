"""Rows of webhooks, and the inbox: what was delivered to them."""

from datetime import datetime
from typing import Self
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from accounts.models import User
from core.models import TimeStamped
from integrations.kinds import Provider


class WebhookQuerySet(models.QuerySet["Webhook"]):
    """Questions about webhooks."""

    def visible_to(self, user: User | AnonymousUser | UUID) -> Self:
        """The webhooks that `user` may see: their own."""
        return self.filter(user=user if isinstance(user, UUID) else user.pk)

    def locked(self) -> Self:
        """The same rows, locked until the transaction ends."""
        return self.select_for_update(of=("self",))


class Webhook(TimeStamped):
    """An address at which a provider tells `user` of events of one `resource`, of all if it is empty.

    Only events among `events` count, unless there are none: then all do. `config` holds what the provider's deliveries
    are to be like; see `integrations.services.create_webhook`. Deliveries are signed with `secret`, and until
    `previous_secret_until` those signed with the one before are good as well. `credentials_id` and
    `provider_webhook_id` are empty where a person gave the address to the provider.
    """

    # Where nothing is signed, who may post is who knows the address: unlike other ids it cannot be guessed from others.
    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    # Indexes of several columns begin with it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    provider = models.CharField(max_length=64, choices=[(each.value, each.value) for each in Provider])
    credentials_id = models.CharField(max_length=64, blank=True, default="")
    webhook_type = models.CharField(max_length=64)
    resource = models.CharField(max_length=500, blank=True, default="")
    events = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    config = models.JSONField(default=dict, blank=True)
    secret = models.CharField(max_length=64)
    previous_secret = models.CharField(max_length=64, blank=True, default="")
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    provider_webhook_id = models.CharField(max_length=200, blank=True, default="")

    objects = WebhookQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=["user", "-created_at", "-id"], name="webhooks_of_a_user_by_time"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(previous_secret="", previous_secret_until=None)
                | ~Q(previous_secret="") & Q(previous_secret_until__isnull=False),
                name="a_previous_secret_has_an_end",
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.webhook_type} {self.pk}"

    @property
    def url(self) -> str:
        """Where the provider sends its events."""
        return f"{settings.PLATFORM_BASE_URL}/api/integrations/{self.provider}/webhooks/{self.pk}/ingress"

    @property
    def is_signed(self) -> bool:
        """Whether only signed deliveries are taken. Who sends to a generic webhook need not be able to sign."""
        return self.provider != Provider.GENERIC or self.config.get("signed") is True

    def secrets_at(self, now: datetime) -> list[str]:
        """What deliveries may be signed with at this time."""
        if self.previous_secret_until is None or self.previous_secret_until <= now:
            return [self.secret]
        return [self.secret, self.previous_secret]


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Questions about deliveries."""

    def of(self, webhook: Webhook) -> Self:
        """What came in by this webhook, to be listed by time, without what was sent."""
        return self.filter(webhook=webhook).annotate(created_at=F("received_at")).defer("payload")

    def left(self, received_before: datetime) -> Self:
        """Those received before this time of which nobody knows yet what they lead to, the longest waiting first."""
        return self.filter(taken_up_at=None, received_at__lt=received_before).order_by("received_at", "pk")

    def claimed(self, delivery_id: UUID) -> "Delivery | None":
        """This one, locked until the transaction ends; None when it was taken up, or somebody is about to."""
        mine = self.select_for_update(of=("self",), skip_locked=True)
        return mine.filter(pk=delivery_id, taken_up_at=None).select_related("webhook__user").first()


class Delivery(models.Model):
    """One event as it came in, committed before its sender was told so.

    `delivery_id` is what the sender calls it: it counts once, however often it comes. `payload` is the JSON as it was
    sent. `outcomes` tells, once it is taken up, what it led to: for each preset a run, or the reason why there is none.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    # The unique constraint begins with it.
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    delivery_id = models.CharField(max_length=190)
    event = models.CharField(max_length=200)
    payload = models.BinaryField()
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)
    taken_up_at = models.DateTimeField(null=True, blank=True)
    outcomes = models.JSONField(default=list, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = (
            models.Index(fields=["webhook", "-received_at", "-id"], name="deliveries_by_time"),
            models.Index(fields=["received_at", "id"], name="deliveries_left", condition=Q(taken_up_at__isnull=True)),
        )
        constraints = (
            models.UniqueConstraint(fields=["webhook", "delivery_id"], name="delivery_counts_once_per_webhook"),
        )

    def __str__(self) -> str:
        return f"{self.event} {self.delivery_id}"
