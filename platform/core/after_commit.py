"""The only way out of a transaction: work and hints leave when it commits, or not at all."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction

from core.broker import BrokerUnavailable, publish

log = logging.getLogger(__name__)


def send_task(name: str, *, queue: str, **arguments: Any) -> None:
    """Send a Celery task by name once the current transaction commits; at once outside of one.

    A broker that is away is logged, not raised: rows are the truth, and a sweeper finds what was not announced.
    """
    run_after_commit(partial(_send_now, name, queue, arguments))


def run_after_commit(action: Callable[[], None]) -> None:
    """Call `action` once the current transaction commits; what it raises is logged and does not reach the caller."""
    transaction.on_commit(action, robust=True)


def _send_now(name: str, queue: str, arguments: dict[str, Any]) -> None:
    try:
        publish(name, queue, arguments)
    except BrokerUnavailable as error:
        log.warning("%s", error)
