"""Runs that events from outside start: what is in the inbox of a webhook starts a run of each of its presets.

A delivery becomes runs once: whoever takes it up has its row locked, starts each run under a key that is made of the
webhook, the preset and what the sender calls the delivery, and marks the row, all in one transaction.
"""

import hashlib
import logging
import time
from datetime import timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from core.errors import DomainError
from credits.errors import InsufficientCredits
from credits.notices import tell_refused_preset
from executions.failpoints import failpoint
from executions.presets import start_preset
from graphs.errors import GraphNotFound
from integrations.kinds import Event, Outcome
from integrations.models import Delivery, Webhook
from integrations.services import keep, payload_of, settle
from library.models import Preset

log = logging.getLogger(__name__)

# Whoever keeps a delivery takes it up at once: what was not taken up within this was left.
LEFT_AFTER = timedelta(seconds=10)
_MOST_SECONDS = 3.0
_BATCH = 1_000
_SWITCHED_OFF = "The account is switched off."
_FAULT = "Something went wrong here; it has been logged."


def receive(webhook: Webhook, event: Event) -> None:
    """Keep an event that was verified, and start its runs; one that has come before starts none again.

    Once it is kept nothing is raised: what cannot be started now is by `take_up_left`. Raises `NoSuchWebhook`.
    """
    if event.is_test:
        return
    delivery_id = keep(webhook, event)
    failpoint("webhook.after_inbox")
    try:
        take_up(delivery_id)
    except (OperationalError, InterfaceError) as error:
        log.warning("Delivery %s is left for now: %s", delivery_id, error)
    # Its sender is told that it is kept, and need not send it again.
    except Exception:
        log.exception("Delivery %s is left for now", delivery_id)


def take_up(delivery_id: UUID) -> bool:
    """Start the runs of a delivery unless they were, or are about to be; returns whether this did."""
    with transaction.atomic():
        delivery = Delivery.objects.claimed(delivery_id)
        if delivery is None:
            return False
        # Otherwise a graph that is deleted this moment is noticed by the commit only, and fails all presets.
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        settle(delivery, [_start(delivery, preset) for preset in _presets_for(delivery)])
    return True


def take_up_left() -> int:
    """Take up what others kept and then could not; returns how many. It ends after a few seconds at the latest."""
    count = 0
    deadline = time.monotonic() + _MOST_SECONDS
    left = Delivery.objects.left(timezone.now() - LEFT_AFTER)
    for delivery_id in left.values_list("pk", flat=True)[:_BATCH]:
        if time.monotonic() > deadline:
            break
        count += take_up(delivery_id)
    return count


def _presets_for(delivery: Delivery) -> list[Preset]:
    webhook = delivery.webhook
    if webhook.events and delivery.event not in webhook.events:
        return []
    return list(Preset.objects.triggered_by(webhook.pk).filter(user=webhook.user_id))


def _start(delivery: Delivery, preset: Preset) -> Outcome:
    """Start the run of one preset. What stands in its way does not hold the others up."""
    if not delivery.webhook.user.is_active:
        return Outcome(preset.pk, reason=_SWITCHED_OFF)
    try:
        with transaction.atomic():
            payload = payload_of(delivery)
            run = start_preset(preset, inputs={"payload": payload}, trigger_key=_key(delivery, preset))
            failpoint("webhook.after_start")
    except GraphNotFound as error:
        Preset.objects.filter(pk=preset.pk).update(is_active=False)
        return Outcome(preset.pk, reason=error.message)
    except DomainError as error:
        if isinstance(error, InsufficientCredits):
            tell_refused_preset(preset.user_id, preset.graph_id, preset.pk)
        log.warning("Delivery %s does not start preset %s: %s", delivery.pk, preset.pk, error)
        return Outcome(preset.pk, reason=error.message)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("Delivery %s could not start preset %s", delivery.pk, preset.pk)
        return Outcome(preset.pk, reason=_FAULT)
    return Outcome(preset.pk, run.pk)


def _key(delivery: Delivery, preset: Preset) -> str:
    """What the run of a preset is started under. What the sender calls the delivery may be longer than a key."""
    name = hashlib.sha256(delivery.delivery_id.encode()).hexdigest()
    return f"webhook:{delivery.webhook_id.hex}:{preset.pk.hex}:{name}"
