"""The work this app hands to Celery, by name."""

from uuid import UUID

from core.after_commit import send
from core.broker import Task

MAIL = "accounts.mail"


def mail(kind: str, email: str, user_id: UUID | None = None) -> None:
    """Have a worker see, once the transaction commits, whether this address is to get a mail of this kind.

    Whether there is such a user is found out there: a request that asks takes as long for everybody. No secret goes
    along, either: a worker makes the link. `user_id` says who asks, where that matters.
    """
    asking = {"user_id": str(user_id)} if user_id else {}
    send([Task(MAIL, "default", {"kind": kind, "email": email, **asking})])
