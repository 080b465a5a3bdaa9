"""Where Celery enters."""

from celery import shared_task

from credits import queue, totals


@shared_task(name=queue.FOLD_TRANSFERS, ignore_result=True)
def fold_transfers() -> None:
    """Beat asks each minute to add up the new transfers. Done twice or late, it does no harm."""
    totals.fold_transfers()
