"""The work this app hands to Celery, by name."""

from uuid import UUID

from core.after_commit import send
from core.broker import Task

FOLD_TRANSFERS = "credits.fold_transfers"
TOP_UP = "credits.top_up"
NOTICE_LOW = "credits.notice_low"
SETTLE_PAYMENTS = "credits.settle_payments"
ANSWER_DISPUTE = "credits.answer_dispute"
FORGET_EVENTS = "credits.forget_events"
MAIL_REFUND_REQUEST = "credits.mail_refund_request"


def top_up(user_id: UUID, occasion: str) -> None:
    """Have a worker see, once the transaction commits, whether this user wants credits to be bought now.

    `occasion` is what the card is charged once for at most: the id of a run, or of another transfer.
    """
    send([Task(TOP_UP, "default", {"user_id": str(user_id), "occasion": occasion})])


def answer_dispute(dispute_id: str) -> None:
    """Have a worker answer a dispute, once the transaction commits."""
    send([Task(ANSWER_DISPUTE, "default", {"dispute_id": dispute_id})])


def mail_refund_request(request_id: UUID) -> None:
    """Have a worker tell whoever operates the platform, once the transaction commits, that a refund waits for them."""
    send([Task(MAIL_REFUND_REQUEST, "default", {"request_id": str(request_id)})])
