"""Where Celery enters."""

import logging
from uuid import UUID

from celery import shared_task

from credits import queue, totals
from credits.payments import auto, disputes, mails, old_events, settling
from credits.payments.errors import PaymentsOff, PaymentsUnavailable

log = logging.getLogger(__name__)


@shared_task(name=queue.FOLD_TRANSFERS, ignore_result=True)
def fold_transfers() -> None:
    """Beat asks each minute to add up the new transfers. Done twice or late, it does no harm."""
    totals.fold_transfers()


@shared_task(name=queue.TOP_UP, ignore_result=True)
def top_up(user_id: str, occasion: str) -> None:
    """A user's credits may have run low. However often it is delivered, the card is charged once for the occasion."""
    try:
        auto.top_up_if_low(UUID(user_id), occasion)
    except (PaymentsOff, PaymentsUnavailable) as error:
        log.warning("No automatic top-up for user %s now: %s", user_id, error)


@shared_task(name=queue.NOTICE_LOW, ignore_result=True)
def notice_low() -> None:
    """Beat asks every few seconds whose card is to be charged. Done twice or late, no card is charged twice for it."""
    auto.notice_low()


@shared_task(name=queue.SETTLE_PAYMENTS, ignore_result=True)
def settle_payments() -> None:
    """Beat asks each minute to find out what nobody heard of. Done twice or late, it does no harm."""
    settling.settle_payments()


@shared_task(name=queue.FORGET_EVENTS, ignore_result=True)
def forget_events() -> None:
    """Beat asks each night to delete Stripe's events of months ago. Done twice or late, it does no harm."""
    log.info("%d events of Stripe's that are old were deleted", old_events.forget_events())


@shared_task(
    name=queue.ANSWER_DISPUTE,
    ignore_result=True,
    autoretry_for=(PaymentsUnavailable,),
    max_retries=4,
    retry_backoff=True,
    retry_backoff_max=60,
)
def answer_dispute(dispute_id: str) -> None:
    """Stripe waits for an answer to a dispute. Delivered twice, the second finds it answered."""
    disputes.answer(dispute_id)


@shared_task(
    name=queue.MAIL_REFUND_REQUEST,
    ignore_result=True,
    autoretry_for=(OSError,),  # what a mail server that is away or says no raises
    max_retries=4,
    retry_backoff=True,
    retry_backoff_max=30,
)
def mail_refund_request(request_id: str) -> None:
    """A refund waits for a person. Delivered twice, it writes twice."""
    mails.write_refund_request(UUID(request_id))
