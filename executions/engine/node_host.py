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
from multiprocessing.connection import wait

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from core.ids import uuid7
from executions import node_tasks
from executions.engine.forks import ForkServer, NodeProcess
from executions.engine.node_process import Order
from executions.engine.node_turn import NodeTurn, Unwanted
from executions.failpoints import failpoint
from executions.node_tasks import Ending, Job
from graphs.blocks.registry import BLOCKS

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FORGET_SECONDS = 30.0
MAX_CLAIMS = 5


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
        turn = NodeTurn(job, self._is_out_of_time)
        try:
            failpoint("task.before_start")
            turn.finish(self._ending_of(turn))
            failpoint("task.after_answer")
        except Unwanted:
            with suppress(DatabaseError):
                node_tasks.leave(job)
        except Stopped:
            with suppress(DatabaseError):
                node_tasks.release(job)
        # Whoever claims it when its lease has lapsed tries again, a few times at most.
        except Exception:
            log.exception("Task %s is dropped", job.id)
        finally:
            connection.close()
            self._slots.release()
            self._bell.set()

    def _ending_of(self, turn: NodeTurn) -> Ending:
        job = turn.job
        if job.claims > 1 and not turn.may_repeat:
            return Ending(error="The worker was lost while this ran", is_lost=True)
        if job.claims > MAX_CLAIMS:
            return Ending(error=f"Given up: {MAX_CLAIMS} workers were lost while this ran")
        try:
            return self._run(turn)
        except Stopped:
            if turn.may_repeat:
                raise
            return Ending(error="The worker was stopped while this ran", is_lost=True)

    def _run(self, turn: NodeTurn) -> Ending:
        """Run the block in a process and wait for its end; raises `Unwanted` and `Stopped`."""
        with NodeProcess(_order_of(turn.job), self._server) as process:
            while True:
                # While the run has much to take up, the block's messages wait, and then the block.
                ready = wait([process.inbox, process.status] if turn.has_room else [], turn.patience)
                if ready and not (process.inbox in ready and turn.hear(process.inbox)):
                    turn.report_death(process.death())
                turn.look()
                if turn.is_over:
                    break
                if self._is_out_of_time():
                    raise Stopped
        failpoint("task.after_run")
        return turn.ending

    def _is_out_of_time(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at


def _order_of(job: Job) -> Order:
    return Order(job.block_id, (job.input_data, job.large_inputs), job.context, settings.NODE_MEMORY_MB)
