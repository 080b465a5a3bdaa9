"""Where Celery enters."""

from celery import shared_task

from notifications import mails, queue


@shared_task(name=queue.SEND_MAILS, ignore_result=True)
def send_mails() -> None:
    """Mails of notices may be due. Delivered twice or by several workers at once, each is sent once."""
    mails.send_due()
