"""Where Celery enters."""

from uuid import UUID

from celery import shared_task

from accounts import mails, queue


@shared_task(
    name=queue.MAIL,
    ignore_result=True,
    autoretry_for=(OSError,),  # what a mail server that is away or says no raises
    max_retries=4,
    retry_backoff=True,
    retry_backoff_max=30,
)
def mail(kind: str, email: str, user_id: str | None = None) -> None:
    """Write to this address if there is reason to. Delivered twice, it writes twice."""
    if user_id is None:
        mails.write(mails.Kind(kind), email)
    else:
        mails.write_to_new_address(UUID(user_id), email)
