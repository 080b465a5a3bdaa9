"""Money that goes back: refunds and disputes. Their news may come late, twice and in any order."""

import logging

from django.db import transaction
from django.utils import timezone

from credits import ledger
from credits.kinds import CREDIT, Kind
from credits.models import RefundRequest, RefundStatus, Reversal, TopUp, lock_payment
from credits.notices import tell_refund
from credits.payments import processor
from credits.payments.objects import REFUND_REQUEST, Refund, Reversed, Stage

log = logging.getLogger(__name__)


def record(news: Reversed) -> str:
    """Write down how a refund or dispute stands, and move its credits if that is due; says what came of it.

    News that is older than what is known changes nothing.
    """
    if news.payment_intent is None:
        return "not of a payment"
    if news.currency != processor.CURRENCY:
        log.error("%s %s is in %s: nobody knows how many credits that is", news.kind, news.id, news.currency)
        return "in another currency"
    with transaction.atomic():
        lock_payment(news.payment_intent)
        reversal, is_new = Reversal.objects.get_or_create(
            stripe_id=news.id,
            defaults={
                "kind": news.kind,
                "payment_id": news.payment_intent,
                "amount": news.amount,
                "request_id": news.link(REFUND_REQUEST) if isinstance(news, Refund) else None,
            },
        )
        if is_new or news.stage > reversal.stage:
            reversal.stage, reversal.status = news.stage, news.status or ""
            reversal.save()
        top_up = TopUp.objects.locked(payment_id=news.payment_intent)
        if top_up is None:
            return "of a payment that is not known here"
        return _apply(reversal, top_up)


def apply_waiting(top_up: TopUp) -> None:
    """Move the credits of what was heard of before the top-up was known to be paid.

    Part of the transaction that has the payment locked and says that it was paid.
    """
    for reversal in Reversal.objects.filter(payment_id=top_up.payment_id, top_up=None).order_by("created_at", "pk"):
        _apply(reversal, top_up)


def credits_for(top_up: TopUp, cents: int) -> int:
    """The micro-credits that these cents of a top-up bought; a promotion may have made them more."""
    return top_up.amount * CREDIT * cents // top_up.paid if top_up.paid else 0


def _apply(reversal: Reversal, top_up: TopUp) -> str:
    reversal.top_up = top_up
    outcome = "written down"
    amount = credits_for(top_up, reversal.amount)
    key = f"{reversal.kind}:{reversal.stripe_id}"
    about = {"top_up": top_up.key, reversal.kind: reversal.stripe_id}
    if reversal.stage == Stage.TAKEN and reversal.taken_at is None and amount:
        ledger.take_back(
            top_up.user_id,
            amount,
            key=key,
            reason=f"{reversal.kind.title()} of {reversal.amount} cents",
            metadata=about,
        )
        reversal.taken_at, outcome = timezone.now(), "credits taken back"
    elif reversal.stage == Stage.DROPPED and reversal.taken_at is not None and reversal.returned_at is None:
        ledger.credit(
            top_up.user_id,
            amount,
            kind=Kind.REFUND,
            key=f"{key}:returned",
            reason=f"The {reversal.kind} came to nothing",
            metadata=about,
        )
        reversal.returned_at, outcome = timezone.now(), "credits given back"
    reversal.save()
    _tell_request(reversal)
    return outcome


def _tell_request(reversal: Reversal) -> None:
    """Let whoever asked for this refund see how it stands."""
    if reversal.request_id is None:
        return
    status, result = {
        Stage.TAKEN: (RefundStatus.REFUNDED, f"{reversal.amount} cents were sent back"),
        Stage.DROPPED: (RefundStatus.FAILED, "The bank did not take the money back"),
    }.get(Stage(reversal.stage), (RefundStatus.SENDING, ""))
    RefundRequest.objects.filter(pk=reversal.request_id, top_up=reversal.top_up).update(
        status=status, result=result, stripe_id=reversal.stripe_id, updated_at=timezone.now()
    )
    tell_refund(reversal.request_id)
