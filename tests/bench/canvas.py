"""Raw Celery: chain, group and chord on Redis. Nothing survives a crash, one message a node."""

import os
import tempfile
from pathlib import Path

from celery import Celery, chain, chord
from celery.exceptions import TimeoutError as CeleryTimeout
from celery.result import AsyncResult

from tests.bench.processes import celery_worker

BROKER_URL = os.environ["BENCH_BROKER_URL"]

app = Celery("canvas", broker=BROKER_URL, backend=BROKER_URL, set_as_current=False)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    task_default_queue="canvas",
    broker_connection_retry_on_startup=True,
)


@app.task(name="canvas.add_one")
def add_one(value: int) -> int:
    """One node."""
    return value + 1


@app.task(name="canvas.collect")
def collect(values: list[int]) -> int:
    """The node behind a fan."""
    return sum(values)


class Canvas:
    """Celery's own way to run a graph."""

    name = "Celery canvas"
    leaves_out = frozenset({"W5a", "W5b"})

    def start(self) -> None:
        """Start the worker."""
        self._worker = celery_worker("tests.bench.canvas", "canvas", Path(tempfile.mkdtemp()) / "canvas.log")
        self.chain(1)

    def stop(self) -> None:
        """Stop it."""
        self._worker.terminate()
        self._worker.wait(20)

    def chain(self, nodes: int) -> None:
        """Run one chain to its end."""
        _wait(self._submit(nodes), nodes + 1)

    def fan(self, width: int) -> None:
        """Run one fan to its end."""
        _wait(chain(add_one.s(1), chord([add_one.s() for _ in range(width)], collect.s())).apply_async(), 3 * width)

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted before the first is waited for."""
        for result in [self._submit(nodes) for _ in range(runs)]:
            _wait(result, nodes + 1)

    def _submit(self, nodes: int) -> AsyncResult[int]:
        return chain(add_one.s(1), *[add_one.s() for _ in range(nodes - 1)]).apply_async()


def _wait(result: AsyncResult[int], expected: int) -> None:
    try:
        found = result.get(timeout=20, interval=0.005)
    except CeleryTimeout as error:
        raise TimeoutError from error
    if found != expected:
        raise AssertionError(f"The canvas gave {found}, not {expected}")
