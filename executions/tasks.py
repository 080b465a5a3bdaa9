"""Where Celery enters: doorbells, the lives of the engine and the host that answer them, and what beat sends.

What a worker does is decided by the queues it listens to: `runs` has it drive runs, `isolated` run isolated blocks.
"""

import gc
import logging
from datetime import timedelta
from functools import cache
from uuid import UUID

from celery import current_app, shared_task
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutdown
from django.utils import timezone

from executions import blobs, bookkeeping, old_fires, queue, schedules, webhooks
from executions.audit import audit_on_record
from executions.engine.engine import DRAIN_SECONDS, Engine
from executions.engine.node_host import NodeHost

log = logging.getLogger(__name__)


@shared_task(name=queue.RING, ignore_result=True)
def ring(run_ids: list[str]) -> None:
    """These runs may have something to do. Delivered twice, late or never, it changes nothing but times."""
    _engine().ring([UUID(run_id) for run_id in run_ids])


@shared_task(name=queue.RUN_NODE, ignore_result=True)
def run_node() -> None:
    """There is an isolated block to run. Delivered twice, late or never, it changes nothing but times."""
    _node_host().ring()


@shared_task(name=queue.FIRE_SCHEDULES, ignore_result=True)
def fire_schedules() -> None:
    """Schedules may be due. However often it is delivered, at once or late, each of their times starts one run."""
    schedules.fire_due()


@shared_task(name=queue.TAKE_UP_DELIVERIES, ignore_result=True)
def take_up_deliveries() -> None:
    """Beat asks every few seconds to act on what came in by webhooks and was left. Each starts its runs once."""
    webhooks.take_up_left()


@shared_task(name=queue.FORGET_BLOBS, ignore_result=True)
def forget_blobs() -> None:
    """Beat asks each hour to delete the large values that no run has any more. Done twice or late, it does no harm."""
    number, size = blobs.forget_blobs()
    if number:
        log.info("%d large values of %d bytes that no run has any more were deleted", number, size)


@shared_task(name=queue.FORGET_FIRES, ignore_result=True)
def forget_fires() -> None:
    """Beat asks each night to delete what schedules did months ago. Done twice or late, it does no harm."""
    log.info("%d times that schedules fired long ago were forgotten", old_fires.forget_fires())


@shared_task(name=queue.TIDY_CREDITS, ignore_result=True)
def tidy_credits() -> None:
    """Beat asks each hour to give back what is on hold for nothing. Done twice or late, it does no harm."""
    bookkeeping.tidy_up()


@shared_task(name=queue.AUDIT_LEDGER, ignore_result=True)
def audit_ledger() -> None:
    """Beat asks each night to prove the books, with the nodes of the last two days; what does not fit is an error."""
    report = audit_on_record(timezone.now() - timedelta(days=2))
    for problem in report.problems:
        log.error("The books are wrong: %s", problem)
    if report.stripe_error is not None:
        log.error("Stripe's own books were not read: %s", report.stripe_error.message)
    log.info("The books were audited: %d transfers, %d mismatches", report.transfers, len(report.problems))


@cache
def _engine() -> Engine:
    engine = Engine()
    engine.start()
    engine.watch()
    return engine


@cache
def _node_host() -> NodeHost:
    host = NodeHost()
    host.start()
    return host


@worker_process_init.connect
def start(**_: object) -> None:
    """A process that will run tasks has begun."""
    queues = current_app.amqp.queues.consume_from
    if "runs" in queues:
        _engine()
    if "isolated" in queues:
        _node_host()
    # A wide run is many small objects that live until its next commit: looking through all of them for cycles every
    # 700 allocations took a third of the time. What is loaded by now stays for good and is not looked through at all.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@worker_process_shutdown.connect
@worker_shutdown.connect
def stop(**_: object) -> None:
    """The process is about to end: hand its runs and tasks to others."""
    has_host = bool(_node_host.cache_info().currsize)
    if has_host:
        _node_host().drain(DRAIN_SECONDS)
    if _engine.cache_info().currsize:
        _engine().stop()
        _engine.cache_clear()
    if has_host:
        _node_host().stop(DRAIN_SECONDS)
        _node_host.cache_clear()
