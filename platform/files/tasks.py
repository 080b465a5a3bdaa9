"""What beat sends."""

import logging

from celery import shared_task

from files import queue, sweeping

log = logging.getLogger(__name__)


@shared_task(name=queue.SWEEP, ignore_result=True)
def sweep() -> None:
    """Beat asks each hour to let go of files that nobody can use any more. Done twice or late, it does no harm."""
    swept = sweeping.sweep()
    if swept.removed or swept.stuck or swept.orphans:
        log.info("Swept %d files and %d without a row; %d would not go", swept.removed, swept.orphans, swept.stuck)
