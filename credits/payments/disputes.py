"""Disputes: a bank wants a payment back, and waits for what we say."""

import logging
from datetime import datetime

from django.utils import timezone

from credits.errors import shown
from credits.kinds import CREDIT
from credits.ledger import settled_balance
from credits.models import Reversal, TopUp, Transfer
from credits.payments import processor, reversals
from credits.payments.objects import Stage

log = logging.getLogger(__name__)

# What must be left of a balance after giving in.
_SPARE = 500 * CREDIT
MOST_EVIDENCE = 20_000


def answer(dispute_id: str) -> None:
    """Give in to a dispute whose credits are still there to take; otherwise show the bank what they were used for.

    One that is answered, over, or not about a top-up is left alone. Raises `PaymentsUnavailable`.
    """
    dispute = Reversal.objects.filter(stripe_id=dispute_id, kind="dispute").select_related("top_up").first()
    if dispute is None or dispute.top_up is None or dispute.answered_at or dispute.stage != Stage.OPEN:
        return
    top_up = dispute.top_up
    if settled_balance(top_up.user_id) - reversals.credits_for(top_up, dispute.amount) >= _SPARE:
        news = processor.concede(dispute_id)
    else:
        news = processor.contest(dispute_id, evidence(top_up))
    Reversal.objects.filter(pk=dispute.pk).update(answered_at=timezone.now())
    reversals.record(news)


def evidence(top_up: TopUp) -> str:
    """What the credits of a top-up were used for, newest first, in at most 20,000 characters."""
    lines = [f"{top_up.amount} credits were bought and delivered at {_time(top_up.paid_at)}. Account history since:"]
    length = len(lines[0])
    for transfer in Transfer.objects.filter(user_id=top_up.user_id, at__gte=top_up.paid_at).order_by("-at", "-id")[
        :500
    ]:
        run = f" by run {transfer.run_id}" if transfer.run_id else ""
        line = f"{_time(transfer.at)} {transfer.kind} {shown(transfer.change)} credits{run} {transfer.reason}".rstrip()
        length += len(line) + 1
        if length > MOST_EVIDENCE:
            break
        lines.append(line)
    return "\n".join(lines)


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"
