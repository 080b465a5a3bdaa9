"""Make and change webhooks, and keep what is delivered to them; each function is one transaction unless it says so."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.deletion import ProtectedError, RestrictedError
from django.utils import timezone

from core.ids import uuid7
from integrations.adapters import ADAPTERS, kind_of, read
from integrations.errors import (
    AlwaysSigned,
    NoPublicAddress,
    NoSuchWebhook,
    PayloadNotPlainJSON,
    PayloadTooLarge,
    TooManyWebhooks,
    WebhookProviderUnknown,
)
from integrations.kinds import Event, Outcome, Provider
from integrations.models import Delivery, Webhook

MAX_WEBHOOKS = 1000
MAX_PAYLOAD_BYTES = 1024 * 1024
# How long deliveries that are signed with the secret before are taken.
ROTATION = timedelta(hours=24)


def create_webhook(
    user_id: UUID,
    *,
    provider: str,
    webhook_type: str,
    resource: str = "",
    events: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    credentials_id: str = "",
) -> Webhook:
    """Make an address for events, with a secret of its own.

    Of `events`, none stands for all. In `config`, `{"signed": true}` has a generic webhook take signed deliveries only.
    Raises `NoPublicAddress`, `WebhookProviderUnknown` and `TooManyWebhooks`.
    """
    if not settings.PLATFORM_BASE_URL:
        raise NoPublicAddress
    if provider not in Provider.__members__.values():
        known = ", ".join(Provider)
        raise WebhookProviderUnknown(f"{provider!r} is none of the providers that webhooks are for: {known}")
    with transaction.atomic():
        _one_at_a_time(user_id)
        if Webhook.objects.visible_to(user_id).count() >= MAX_WEBHOOKS:
            raise TooManyWebhooks(f"You have {MAX_WEBHOOKS} webhooks, as many as one user may have")
        return Webhook.objects.create(
            user_id=user_id,
            provider=provider,
            webhook_type=webhook_type,
            resource=resource,
            events=list(events),
            config=dict(config or {}),
            credentials_id=credentials_id,
            secret=secrets.token_hex(32),
        )


def prune_webhook(webhook_id: UUID) -> bool:
    """Delete a webhook, and what was delivered to it, unless something refers to it; returns whether it is gone.

    Who refers to it does so by a foreign key that protects it.
    """
    with transaction.atomic():
        webhook = Webhook.objects.filter(pk=webhook_id).locked().first()
        if webhook is None:
            return True
        try:
            webhook.delete()
        except (ProtectedError, RestrictedError):
            return False
    return True


def require_signatures(user_id: UUID, webhook_id: UUID, *, signed: bool) -> Webhook:
    """Say whether a webhook takes signed deliveries only. Raises `NoSuchWebhook`, and `AlwaysSigned` where it must."""
    with transaction.atomic():
        webhook = _locked(user_id, webhook_id)
        if webhook.provider != Provider.GENERIC:
            if not signed:
                raise AlwaysSigned
            return webhook
        webhook.config = {**webhook.config, "signed": signed}
        webhook.save(update_fields=["config", "updated_at"])
    return webhook


def rotate_secret(user_id: UUID, webhook_id: UUID) -> Webhook:
    """Give a webhook a new secret; the one before is good for a day, and no longer the one before that.

    Raises `NoSuchWebhook`.
    """
    with transaction.atomic():
        webhook = _locked(user_id, webhook_id)
        webhook.previous_secret, webhook.previous_secret_until = webhook.secret, timezone.now() + ROTATION
        webhook.secret = secrets.token_hex(32)
        webhook.save(update_fields=["secret", "previous_secret", "previous_secret_until", "updated_at"])
    return webhook


def webhook_of(user_id: UUID, webhook_id: UUID) -> Webhook:
    """This webhook of the user's; raises `NoSuchWebhook`."""
    webhook = Webhook.objects.visible_to(user_id).filter(pk=webhook_id).first()
    if webhook is None:
        raise NoSuchWebhook(webhook_id=str(webhook_id))
    return webhook


def find_webhook(provider: str, webhook_id: UUID) -> Webhook:
    """The webhook of this provider, whosever it is; raises `NoSuchWebhook`."""
    webhook = Webhook.objects.filter(pk=webhook_id, provider=provider).first()
    if webhook is None:
        raise NoSuchWebhook(webhook_id=str(webhook_id))
    return webhook


def verify(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> Event:
    """The event that came in, when it is whole and from whom it should be; nothing is written.

    Raises `PayloadNotPlainJSON`, `PayloadTooLarge`, `HeaderUnusable`, `SignatureRefused`, `MalformedJSON` and
    `PayloadNotAnObject`.
    """
    if not _is_plain_json(headers):
        raise PayloadNotPlainJSON
    if len(body) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge
    now = timezone.now()
    provider = Provider(webhook.provider)
    event = ADAPTERS[provider](headers, body, webhook.secrets_at(now) if webhook.is_signed else [], now)
    return replace(event, kind=kind_of(provider, event))


def keep(webhook: Webhook, event: Event) -> UUID:
    """Put an event into the inbox and return the id of its row: the one that is there if it has come before.

    Raises `NoSuchWebhook` when the webhook was deleted meanwhile.
    """
    row_id = uuid7()
    try:
        delivery, _ = Delivery.objects.get_or_create(
            webhook_id=webhook.pk,
            delivery_id=event.delivery_id or f"unnamed:{row_id}",
            defaults={"id": row_id, "event": event.kind, "payload": event.payload},
        )
    # The foreign key is looked at when the transaction ends.
    except IntegrityError:
        raise NoSuchWebhook(webhook_id=str(webhook.pk)) from None
    return delivery.pk


def payload_of(delivery: Delivery) -> dict[str, Any]:
    """What was sent."""
    return read(bytes(delivery.payload))


def settle(delivery: Delivery, outcomes: Sequence[Outcome]) -> None:
    """Write down what a delivery led to: it is taken up. Its row is locked, and the transaction is the caller's."""
    delivery.outcomes = [outcome.to_json() for outcome in outcomes]
    delivery.taken_up_at = timezone.now()
    delivery.save(update_fields=["outcomes", "taken_up_at"])


def _is_plain_json(headers: Mapping[str, str]) -> bool:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    return is_json and headers.get("Content-Encoding", "identity").strip().lower() == "identity"


def _locked(user_id: UUID, webhook_id: UUID) -> Webhook:
    webhook = Webhook.objects.visible_to(user_id).filter(pk=webhook_id).locked().first()
    if webhook is None:
        raise NoSuchWebhook(webhook_id=str(webhook_id))
    return webhook


def _one_at_a_time(user_id: UUID) -> None:
    """Wait for others that make webhooks of this user, so that what is counted stays true until the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"webhooks of {user_id}"])
