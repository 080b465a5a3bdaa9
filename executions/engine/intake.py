"""Which runs a process takes up next: of those it was told of and those it found itself, fairly between users.

A user who has as many runs under way as may be is *crowded*: what this process hears of their other runs is forgotten,
and whenever one of them ends or parks here, the rows say which of the queued ones is next.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg import Error

from credits.kinds import Mode
from executions.engine.backlog import Backlog
from executions.engine.sweeps import Found, Sweeps
from executions.failpoints import failpoint

log = logging.getLogger(__name__)

MAX_SORTED = 1000
# A full process still looks for users who wait: it serves them before those who have runs here.
LOOK_WHEN_FULL = 16
# While there is more than one look may bring, the next one follows soon.
SOON_SECONDS = 0.1
# How long a run is left to other processes when this one cannot drive it.
LEAVE_SECONDS = 10.0


class Intake:
    """Begins runs while there is room. `driving` are those under way, `begin` starts another; all within the loop."""

    def __init__(self, sweeps: Sweeps, driving: Mapping[UUID, Any], begin: Callable[[UUID], None]) -> None:
        self._sweeps = sweeps
        self._driving = driving
        self._begin = begin
        self._backlog = Backlog()
        self._crowded: set[UUID] = set()
        self._to_look_for: set[UUID] = set()
        self._left: dict[UUID, float] = {}
        self._news = asyncio.Event()

    def offer(self, run_ids: Iterable[UUID]) -> None:
        """These runs may have something to do."""
        for run_id in run_ids:
            if self._is_left(run_id):
                continue
            if self._room > 0 and not self._crowded and not self._backlog:
                self._begin(run_id)
            else:
                self._backlog.add(run_id)
                self._news.set()

    def crowd(self, user_id: UUID) -> None:
        """The user has as many runs under way as may be."""
        self._crowded.add(user_id)
        self._backlog.forget(user_id)

    def let_go(self, user_id: UUID | None) -> None:
        """There is room for another run, and this user may have a place free."""
        if user_id in self._crowded:
            self._to_look_for.add(user_id)
        if self._to_look_for or self._backlog:
            self._news.set()

    async def refused(self, run_id: UUID) -> None:
        """A run could not be claimed: it has no place, or another process was quicker."""
        crowding = await self._sweeps.crowding(run_id)
        if crowding is not None:
            user_id, is_crowded = crowding
            if is_crowded:
                self.crowd(user_id)
            else:
                # A place came free meanwhile, and whoever looked for runs then left out this one.
                self._backlog.put(run_id, user_id)

    def leave(self, run_id: UUID) -> None:
        """Do not take this run up again for a while: another process may know its blocks."""
        now = time.monotonic()
        self._left = {left: until for left, until in self._left.items() if until > now}
        self._left[run_id] = now + LEAVE_SECONDS

    def close(self) -> None:
        """Begin nothing that still waits."""
        self._backlog.clear()

    async def serve(self) -> None:
        """Begin what waits here whenever there is room."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._sort()
                await self._look_for_crowded()
            except Error as error:
                log.warning("Runs that wait could not be looked at: %s", error)
            while self._room > 0 and (run_id := self._backlog.pop()) is not None:
                self._begin(run_id)

    async def sweep(self) -> None:
        """Find runs that nobody was told about, or whose worker is gone, every few seconds."""
        pause = float(settings.SWEEP_SECONDS)
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  only spreads load
            pause = float(settings.SWEEP_SECONDS)
            try:
                failpoint("sweep.before")
                await self._sweeps.cancel_orphans()
                limit = max(self._room, LOOK_WHEN_FULL)
                found = await self._sweeps.wake_due()
                if settings.CREDITS != Mode.DISABLED:
                    found += await self._sweeps.wake_funded()
                found += await self._sweeps.lapsed(self._held(), limit)
                found += await self._sweeps.queued(self._held(), limit, patience=settings.SWEEP_SECONDS / 2)
            except Error as error:
                log.warning("The sweep failed: %s", error)
                continue
            self._put(found)
            if len(found) >= limit and self._room > 0:
                pause = min(SOON_SECONDS, pause)

    @property
    def _room(self) -> int:
        return int(settings.ENGINE_RUNS) - len(self._driving)

    def _held(self) -> list[UUID]:
        now = time.monotonic()
        return [*self._driving, *(run_id for run_id, until in self._left.items() if until > now)]

    def _is_left(self, run_id: UUID) -> bool:
        return self._left.get(run_id, 0.0) > time.monotonic()

    async def _sort(self) -> None:
        """Find out whose the runs are that this process was told of while it was full."""
        while run_ids := self._backlog.take_unknown(MAX_SORTED):
            for found in await self._sweeps.owners(run_ids):
                if found.user_id in self._crowded:
                    self._to_look_for.add(found.user_id)
                else:
                    self._backlog.put(found.run_id, found.user_id)

    async def _look_for_crowded(self) -> None:
        if not self._to_look_for or self._room <= 0:
            return
        users, self._to_look_for = self._to_look_for, set()
        found = await self._sweeps.queued_of(users, self._held(), self._room)
        self._crowded -= users - {each.user_id for each in found}
        self._put(found)

    def _put(self, found: Iterable[Found]) -> None:
        for each in found:
            self._backlog.put(each.run_id, each.user_id)
        if self._backlog:
            self._news.set()
