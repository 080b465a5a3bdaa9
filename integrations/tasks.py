"""Where Celery enters."""

import logging

from celery import shared_task

from integrations import old_deliveries, queue

log = logging.getLogger(__name__)


@shared_task(name=queue.FORGET_DELIVERIES, ignore_result=True)
def forget_deliveries() -> None:
    """Beat asks each night to delete what came in long ago. Done twice or late, it does no harm."""
    log.info("%d deliveries that came in long ago were forgotten", old_deliveries.forget_deliveries())
