"""The work this app hands to Celery, by name."""

from core.after_commit import send
from core.broker import Task

MAIL = "accounts.mail"


def mail(kind: str, email: str) -> None:
    """Have a worker see, once the transaction commits, whether this address is to get a mail of this kind.

    Whether there is such a user is found out there: a request that asks takes as long for everybody. No secret goes
    along, either: a worker makes the link.
    """
    send([Task(MAIL, "default", {"kind": kind, "email": email})])
