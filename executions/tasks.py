"""Where Celery enters: a doorbell, and the life of the engine that answers it."""

import gc
from functools import cache
from uuid import UUID

from celery import shared_task
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutdown

from executions import queue
from executions.engine.engine import Engine


@shared_task(name=queue.RING, ignore_result=True)
def ring(run_ids: list[str]) -> None:
    """These runs may have something to do. Delivered twice, late or never, it changes nothing but times."""
    _engine().ring([UUID(run_id) for run_id in run_ids])


@cache
def _engine() -> Engine:
    engine = Engine()
    engine.start()
    return engine


@worker_process_init.connect
def start_engine(**_: object) -> None:
    """A process that will run tasks has begun."""
    _engine()
    # A wide run is many small objects that live until its next commit: looking through all of them for cycles every
    # 700 allocations took a third of the time. What is loaded by now stays for good and is not looked through at all.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@worker_process_shutdown.connect
@worker_shutdown.connect
def stop_engine(**_: object) -> None:
    """The process is about to end: hand its runs to others."""
    if _engine.cache_info().currsize:
        _engine().stop()
        _engine.cache_clear()
