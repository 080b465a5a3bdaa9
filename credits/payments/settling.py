"""Find out about payments whose news got lost."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone

from core.errors import DomainError
from credits.balances import mode
from credits.kinds import Mode
from credits.models import RefundRequest, RefundStatus, Reversal, TopUp, TopUpKind
from credits.payments import auto, disputes, processor, refunds, top_ups
from credits.payments.errors import PaymentsOff, PaymentsUnavailable
from credits.payments.objects import Stage

log = logging.getLogger(__name__)

# What is younger is probably being worked on by whoever began it.
_SILENCE = timedelta(minutes=2)
# A page that nobody pays on is asked about once in this time.
_PAGE_SILENCE = timedelta(hours=1)
_BATCH = 100
_Row = TypeVar("_Row", bound=Model)


def settle_payments() -> int:
    """Settle what has been open for a while; returns how many there were.

    Ends early when Stripe does not answer. Any number of processes may do this at once.
    """
    if mode() is Mode.DISABLED:
        return 0
    try:
        processor.require()
        return (
            _each(_open_checkouts(), top_ups.settle_checkout)
            + _each(_open_charges(), auto.settle)
            + _each(_open_refunds(), refunds.settle)
            + _each(_unanswered(), lambda dispute: disputes.answer(dispute.stripe_id))
        )
    except PaymentsOff:
        return 0
    except PaymentsUnavailable as error:
        log.warning("Payments will be settled later: %s", error)
        return 0


def _each(rows: QuerySet[_Row], settle: Callable[[_Row], object]) -> int:
    count = 0
    for row in rows[:_BATCH]:
        try:
            settle(row)
        except (PaymentsOff, PaymentsUnavailable):
            raise
        except DomainError as error:
            log.warning("%r cannot be settled: %s", row, error)
        count += 1
    return count


def _open_checkouts() -> QuerySet[TopUp]:
    before = timezone.now() - _PAGE_SILENCE
    return TopUp.objects.pending(TopUpKind.CHECKOUT).filter(updated_at__lt=before).order_by("updated_at", "pk")


def _open_charges() -> QuerySet[TopUp]:
    before = timezone.now() - _SILENCE
    return TopUp.objects.pending(TopUpKind.AUTOMATIC).filter(created_at__lt=before).order_by("created_at", "pk")


def _open_refunds() -> QuerySet[RefundRequest]:
    sent = RefundRequest.objects.filter(status=RefundStatus.SENDING, updated_at__lt=timezone.now() - _SILENCE)
    return sent.select_related("top_up").order_by("updated_at", "pk")


def _unanswered() -> QuerySet[Reversal]:
    before = timezone.now() - _SILENCE
    found = Reversal.objects.filter(kind="dispute", stage=Stage.OPEN, answered_at=None, created_at__lt=before)
    return found.exclude(top_up=None).order_by("created_at", "pk")
