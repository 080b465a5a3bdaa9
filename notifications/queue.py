"""The work this app hands to Celery, by name."""

from core.after_commit import send
from core.broker import Task

SEND_MAILS = "notifications.send_mails"


def send_mails() -> None:
    """Have a worker send the mails that are due, once the transaction commits; if that gets lost, beat asks again."""
    send([Task(SEND_MAILS, "default", {})])
