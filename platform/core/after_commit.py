"""The only way out of a transaction: work and hints leave when it commits, or not at all."""

import logging
from collections.abc import Sequence
from functools import partial

from django.db import transaction

from core.broker import BrokerUnavailable, Hint, Task, publish

log = logging.getLogger(__name__)


def send(tasks: Sequence[Task] = (), hints: Sequence[Hint] = ()) -> None:
    """Send Celery tasks and hints, together, once the current transaction commits; at once outside of one.

    A broker that is away is logged, not raised: rows are the truth, a sweeper finds what was not announced, and whoever
    watches looks again by and by.
    """
    transaction.on_commit(partial(_send_now, tasks, hints), robust=True)


def _send_now(tasks: Sequence[Task], hints: Sequence[Hint]) -> None:
    try:
        publish(tasks, hints)
    except BrokerUnavailable as error:
        log.warning("%s", error)
