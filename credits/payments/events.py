"""What Stripe's events mean here. Each counts once; late, twice and in any order they lead to the same rows."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from credits import queue
from credits.models import StripeEvent
from credits.payments import processor, reversals, top_ups
from credits.payments.errors import WebhookRefused
from credits.payments.objects import Checkout, Dispute, Event, Intent, Refund

log = logging.getLogger(__name__)


def receive(body: bytes, signature: str) -> None:
    """Act on the event in a webhook's raw body.

    Raises `WebhookRefused` for what Stripe did not sign lately or is not an event, and `PaymentsOff`.
    """
    event = processor.signed_event(body, signature)
    try:
        with transaction.atomic():
            _act_once(event)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WebhookRefused(f"The object of {event.type} has a wrong {place}: {first['msg']}") from None


def _act_once(event: Event) -> None:
    object_id = str(event.data.object.get("id", ""))[:255]
    # Whoever is there at the same time with the same event waits here.
    row, is_new = StripeEvent.objects.get_or_create(
        stripe_id=event.id, defaults={"type": event.type, "object_id": object_id, "outcome": "nothing to do"}
    )
    act = _ACTS.get(event.type)
    if not is_new or act is None:
        return
    row.outcome = act(event.data.object)
    row.save()
    log.info("%s of %s: %s", event.type, object_id, row.outcome)


def _checkout_paid(found: dict[str, Any]) -> str:
    return top_ups.credit_checkout(Checkout.model_validate(found))


def _checkout_failed(found: dict[str, Any]) -> str:
    return top_ups.fail_checkout(Checkout.model_validate(found), "The payment failed")


def _checkout_expired(found: dict[str, Any]) -> str:
    return top_ups.fail_checkout(Checkout.model_validate(found), top_ups.NOT_PAID_ON)


def _charged(found: dict[str, Any]) -> str:
    return top_ups.credit_charge(Intent.model_validate(found))


def _refunded(found: dict[str, Any]) -> str:
    return reversals.record(Refund.model_validate(found))


def _disputed(found: dict[str, Any]) -> str:
    dispute = Dispute.model_validate(found)
    outcome = reversals.record(dispute)
    if dispute.needs_answer:
        queue.answer_dispute(dispute.id)
    return outcome


_ACTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "checkout.session.completed": _checkout_paid,
    "checkout.session.async_payment_succeeded": _checkout_paid,
    "checkout.session.async_payment_failed": _checkout_failed,
    "checkout.session.expired": _checkout_expired,
    "payment_intent.succeeded": _charged,
    "refund.created": _refunded,
    "refund.updated": _refunded,
    "refund.failed": _refunded,
    "charge.refund.updated": _refunded,
    "charge.dispute.created": _disputed,
    "charge.dispute.updated": _disputed,
    "charge.dispute.closed": _disputed,
    "charge.dispute.funds_withdrawn": _disputed,
    "charge.dispute.funds_reinstated": _disputed,
}
