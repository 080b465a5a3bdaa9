"""A turn of a block in a process of its own, as the thread that looks after it sees it.

What the block gives is kept for a moment and handed on in parts. A block that gives faster than its run takes up has to
wait: no more than a few parts are on their way, and nothing more is heard of it meanwhile.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import InterfaceError, InternalError, OperationalError, connection

from core import json
from executions import node_tasks
from executions.engine.crossing import context_from_json
from executions.engine.far_files import FILE, serve
from executions.engine.node_process import BEGIN, MAX_OUTPUT_BYTES, OUTPUT, USED
from executions.failpoints import failpoint
from executions.node_tasks import Ending, Job, Part
from graphs.blocks.base import Context
from graphs.blocks.registry import BLOCKS

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# A part is handed on when its first output is this old, or when it is large.
PART_SECONDS = 0.1
PART_BYTES = 256 * 1024
PART_OUTPUTS = 1000
# A run that has had a part within this time looks for the next one itself, well before it lets go.
FOLLOWED_SECONDS = 0.5
# How many parts may be on their way, and how often to ask how many are.
MAX_AHEAD = 8
ROOM_SECONDS = 0.05
# Postgres is away, or may only be read for now: so says an internal error.
_AWAY = (OperationalError, InterfaceError, InternalError)


class Unwanted(Exception):
    """Nobody waits for the task any more, or another worker has it."""


class NodeTurn:
    """What is known of a block under way. `is_out_of_time` says that this worker ends now."""

    def __init__(self, job: Job, is_out_of_time: Callable[[], bool]) -> None:
        self.job = job
        self.may_repeat = BLOCKS.get(job.block_id).effect.is_repeatable
        self._ending: Ending | None = None
        self._is_out_of_time = is_out_of_time
        self._looked_at = self._kept_at = time.monotonic()
        self._deadline: float | None = None
        self._used_tokens = 0
        # Outputs that an earlier worker has handed on come again and are dropped.
        self._to_drop = self._handed_on = job.output_count
        self._outputs: list[bytes] = []
        self._size = 0
        self._oldest_at = self._handed_on_at = 0.0
        # Where each part ends that the run has not taken up.
        self._ahead: deque[int] = deque()

    @property
    def is_over(self) -> bool:
        """Whether the block has ended, or was given up."""
        return self._ending is not None

    @property
    def ending(self) -> Ending:
        """How it ended, once it is over."""
        assert self._ending is not None  # noqa: S101  asked only then
        return self._ending

    @property
    def has_room(self) -> bool:
        """Whether the block may give more."""
        return len(self._ahead) < MAX_AHEAD

    @property
    def patience(self) -> float:
        """How many seconds to wait for a message before there is something else to do."""
        now = time.monotonic()
        until = self._looked_at + LOOK_SECONDS
        if self._deadline is not None:
            until = min(until, self._deadline)
        if not self.has_room:
            until = min(until, now + ROOM_SECONDS)
        elif self._outputs:
            until = min(until, self._oldest_at + PART_SECONDS)
        return max(0.0, until - now)

    def hear(self, inbox: Connection) -> bool:
        """Take a message; false when there will be no more."""
        try:
            message = inbox.recv_bytes(2 * MAX_OUTPUT_BYTES)
        except (EOFError, OSError):
            return False
        if message[:1] == OUTPUT:
            self._take(message[1:])
        elif message[:1] == FILE:
            self._serve(inbox, message)
        elif message[:1] == USED:
            self._used_tokens += json.decode(message[1:])
        elif message == BEGIN:
            if self.job.timeout_seconds is not None:
                self._deadline = time.monotonic() + self.job.timeout_seconds
        else:
            self._end(**json.decode(message[1:]))
        return True

    def report_death(self, death: str) -> None:
        """End the turn, for the process died without saying what came of the block; `death` says how it died."""
        self._end(error=f"The process that ran this block died ({death})", is_lost=not self.may_repeat)

    def look(self) -> None:
        """Hand on what is due, keep the lease, and notice that the time is up or that nobody wants the task any more.

        Raises `Unwanted`.
        """
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline and not self.is_over:
            self._end(error=f"Not done within {self.job.timeout_seconds:g} s")
        if not self.is_over:
            self._pass_on(now)
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._keep(now)

    def finish(self, ending: Ending) -> None:
        """Hand on the rest, and write the end down; raises `Unwanted`."""
        part = self._part()
        self._insist(lambda: node_tasks.finish(self.job, self._handed_on, part, ending))

    def _take(self, output: bytes) -> None:
        if self._to_drop:
            self._to_drop -= 1
            return
        if not self._outputs:
            self._oldest_at = time.monotonic()
        self._outputs.append(output)
        self._size += len(output)

    def _serve(self, inbox: Connection, request: bytes) -> None:
        """Answer a request for a file, which may take long, and look after everything else meanwhile.

        A process that never takes its answer is ended when its time is up, and with it the answering.
        """
        context = context_from_json(json.decode(self.job.context))
        answering = Thread(target=_answer, args=(inbox, request, context), daemon=True)
        answering.start()
        while answering.is_alive() and not self.is_over and not self._is_out_of_time():
            answering.join(PART_SECONDS)
            self.look()

    def _end(self, **how: Any) -> None:
        self._ending = Ending(**how, used_tokens=self._used_tokens)

    def _pass_on(self, now: float) -> None:
        """Hand on a part that is due, or ask whether there is room again."""
        if not self.has_room:
            self._make_room()
        elif self._outputs and (
            self._size >= PART_BYTES or len(self._outputs) >= PART_OUTPUTS or now - self._oldest_at >= PART_SECONDS
        ):
            part = self._part()
            is_followed = now - self._handed_on_at < FOLLOWED_SECONDS
            self._insist(lambda: node_tasks.hand_on(self.job, self._handed_on, part, is_followed=is_followed))
            self._handed_on_at = now
            failpoint("task.after_part")
            self._handed_on += part.count
            self._ahead.append(self._handed_on)
            self._outputs, self._size = [], 0

    def _part(self) -> Part:
        return Part(b"[" + b",".join(self._outputs) + b"]", len(self._outputs))

    def _make_room(self) -> None:
        try:
            taken_up = node_tasks.taken_up(self.job)
        except DatabaseError as error:
            log.warning("How far task %s may go on is not known: %s", self.job.id, error)
            connection.close()
            return
        while self._ahead and self._ahead[0] <= taken_up:
            self._ahead.popleft()

    def _keep(self, now: float) -> None:
        try:
            if not node_tasks.keep(self.job):
                raise Unwanted
            self._kept_at = now
        except DatabaseError as error:
            log.warning("The lease of task %s was not prolonged: %s", self.job.id, error)
            if now - self._kept_at > settings.LEASE_SECONDS:
                raise Unwanted from error
        finally:
            connection.close()

    def _insist(self, write: Callable[[], bool]) -> None:
        """Write something down, however long Postgres is away: the work is done and must not be lost."""
        while True:
            try:
                if not write():
                    raise Unwanted
                return
            except _AWAY as error:
                log.warning("What task %s gave cannot be written: %s", self.job.id, error)
                if self._is_out_of_time():
                    raise
                connection.close()
                time.sleep(LOOK_SECONDS)


def _answer(inbox: Connection, request: bytes, context: Context) -> None:
    # A process that does not listen may still have something to say; TypeError is a connection closed meanwhile.
    with suppress(EOFError, OSError, TypeError):
        serve(inbox, request, context)
