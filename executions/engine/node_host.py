"""Where isolated blocks run: a few threads of a worker, each looking after one process at a time.

The host is told of tasks by doorbells (`ring`) and looks for itself every few seconds, as the engine does for runs. A
block that crashes, takes too much memory or never ends hurts its own process only, which can be killed in any state.
"""

import logging
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from core import json
from core.ids import uuid7
from executions import node_tasks
from executions.engine.forks import ForkServer, NodeProcess
from executions.engine.node_process import BEGIN, MAX_OUTPUT_BYTES, OUTPUT, Order
from executions.failpoints import failpoint
from executions.node_tasks import Ending, Job
from graphs.blocks.registry import BLOCKS

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FORGET_SECONDS = 30.0
MAX_CLAIMS = 5


class Unwanted(Exception):
    """Nobody waits for the task any more, or another worker has it."""


class Stopped(Exception):
    """This worker ends before the block does."""


class NodeHost:
    """Runs isolated blocks until it is stopped. Its public methods may be called from any thread."""

    def __init__(self) -> None:
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid7().hex[-8:]}"
        self._slots = threading.Semaphore(settings.NODE_TASKS)
        self._threads = ThreadPoolExecutor(settings.NODE_TASKS, thread_name_prefix="node")
        self._bell = threading.Event()
        self._stop_at: float | None = None
        self._server = ForkServer()
        self._thread = threading.Thread(target=self._live, name="node-host", daemon=True)

    def start(self) -> None:
        """Begin to take tasks, without waiting for Postgres to answer."""
        self._thread.start()

    def ring(self) -> None:
        """There may be a task to take."""
        self._bell.set()

    def drain(self, grace: float) -> None:
        """Take no more tasks, and give those under way `grace` seconds."""
        self._stop_at = time.monotonic() + grace
        self._bell.set()

    def stop(self, grace: float) -> None:
        """Take no more tasks, give those under way `grace` seconds unless `drain` did before, and end."""
        if self._stop_at is None:
            self.drain(grace)
        self._thread.join(grace + LOOK_SECONDS)
        self._threads.shutdown()
        self._server.close()

    def _live(self) -> None:
        forgot_at = time.monotonic()
        while self._stop_at is None:
            self._bell.clear()
            try:
                self._take()
                if time.monotonic() - forgot_at > FORGET_SECONDS:
                    node_tasks.forget()
                    forgot_at = time.monotonic()
            except DatabaseError as error:
                log.warning("No tasks can be taken: %s", error)
            finally:
                connection.close()
            self._bell.wait(settings.SWEEP_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311  only spreads load

    def _take(self) -> None:
        """Take tasks as long as there are some and room for them."""
        while self._stop_at is None and self._slots.acquire(blocking=False):
            job = None
            try:
                job = node_tasks.claim(self._owner, [block.id for block in BLOCKS.all()])
            finally:
                if job is None:
                    self._slots.release()
            if job is None:
                return
            self._threads.submit(self._look_after, job)

    def _look_after(self, job: Job) -> None:
        try:
            failpoint("task.before_start")
            self._answer(job, self._ending_of(job))
            failpoint("task.after_answer")
        except (Unwanted, Stopped):
            with suppress(DatabaseError):
                node_tasks.release(job)
        # Whoever claims it when its lease has lapsed tries again, a few times at most.
        except Exception:
            log.exception("Task %s is dropped", job.id)
        finally:
            connection.close()
            self._slots.release()
            self._bell.set()

    def _ending_of(self, job: Job) -> Ending:
        may_repeat = BLOCKS.get(job.block_id).effect.is_repeatable
        if job.claims > 1 and not may_repeat:
            return Ending(error="The worker was lost while this ran", is_lost=True)
        if job.claims > MAX_CLAIMS:
            return Ending(error=f"Given up: {MAX_CLAIMS} workers were lost while this ran")
        try:
            return self._run(job)
        except Stopped:
            if may_repeat:
                raise
            return Ending(error="The worker was stopped while this ran", is_lost=True)

    def _run(self, job: Job) -> Ending:
        """Run the block in a process and wait for its end; raises `Unwanted` and `Stopped`."""
        watch = _Watch(job)
        with NodeProcess(_order_of(job), self._server) as process:
            while not watch.is_over:
                ready = wait([process.inbox, process.status], watch.patience)
                if ready and not (process.inbox in ready and watch.hear(process.inbox)):
                    watch.mourn(process.death())
                watch.look()
                if self._stop_at is not None and time.monotonic() >= self._stop_at:
                    raise Stopped
        failpoint("task.after_run")
        return watch.ending

    def _answer(self, job: Job, ending: Ending) -> None:
        """Write the ending down, however long Postgres is away: the work is done and must not be lost."""
        while True:
            try:
                if not node_tasks.finish(job, ending):
                    raise Unwanted
                return
            except DatabaseError as error:
                log.warning("The end of task %s cannot be written: %s", job.id, error)
                if self._stop_at is not None and time.monotonic() > self._stop_at:
                    raise
                connection.close()
                time.sleep(LOOK_SECONDS)


class _Watch:
    """What is known of a block under way."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._may_repeat = BLOCKS.get(job.block_id).effect.is_repeatable
        self._outputs: list[bytes] = []
        self._looked_at = self._kept_at = time.monotonic()
        self._deadline: float | None = None
        self._ending: Ending | None = None

    @property
    def is_over(self) -> bool:
        return self._ending is not None

    @property
    def ending(self) -> Ending:
        assert self._ending is not None  # noqa: S101  asked only when it is over
        return self._ending

    @property
    def patience(self) -> float:
        """How many seconds to wait for a message before there is something else to do."""
        until = self._looked_at + LOOK_SECONDS
        if self._deadline is not None:
            until = min(until, self._deadline)
        return max(0.0, until - time.monotonic())

    def hear(self, inbox: Connection) -> bool:
        """Take a message; false when there will be no more."""
        try:
            message = inbox.recv_bytes(2 * MAX_OUTPUT_BYTES)
        except (EOFError, OSError):
            return False
        if message[:1] == OUTPUT:
            self._outputs.append(message[1:])
        elif message == BEGIN:
            if self._job.timeout_seconds is not None:
                self._deadline = time.monotonic() + self._job.timeout_seconds
        else:
            self._end(**json.decode(message[1:]))
        return True

    def mourn(self, death: str) -> None:
        """The process has died without a last word."""
        self._end(error=f"The process that ran this block died ({death})", is_lost=not self._may_repeat)

    def look(self) -> None:
        """Keep the lease, notice that nobody wants the task any more, and that its time is up."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline and not self.is_over:
            self._end(error=f"Not done within {self._job.timeout_seconds:g} s")
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            if not node_tasks.keep(self._job):
                raise Unwanted
            self._kept_at = now
        except DatabaseError as error:
            log.warning("The lease of task %s was not prolonged: %s", self._job.id, error)
            if now - self._kept_at > settings.LEASE_SECONDS:
                raise Unwanted from error
        finally:
            connection.close()

    def _end(self, **how: object) -> None:
        self._ending = Ending(b"[" + b",".join(self._outputs) + b"]", **how)  # type: ignore[arg-type]


def _order_of(job: Job) -> Order:
    return Order(job.block_id, (job.input_data, job.large_inputs), job.context, settings.NODE_MEMORY_MB)
