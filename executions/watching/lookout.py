"""Noticing, for all sockets of a process, what no hint told."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import takewhile
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError

from core.listening import Listener
from executions.models import GraphExecution
from executions.watching.feeds import RunFeed
from executions.watching.readers import reading
from executions.watching.subscriptions import Watching

log = logging.getLogger(__name__)

# How soon each subscription is looked after again; in parts, so that not all are read at once.
LOOK_SECONDS = 10.0
PARTS = 10


class Lookout:
    """Looks after the subscriptions of all sockets that share a listener; a query tells of many runs."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        # When each was last looked after, the longest ago first.
        self._subscriptions: dict[Watching, float] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, subscription: Watching) -> None:
        """Look after the subscription from now on."""
        loop = asyncio.get_running_loop()
        self._subscriptions[subscription] = loop.time()
        if self._task is None:
            self._task = loop.create_task(self._look_after())

    def remove(self, subscription: Watching) -> None:
        """Look after it no longer."""
        del self._subscriptions[subscription]
        if self._task is not None and not self._subscriptions:
            self._task.cancel()
            self._task = None

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS / PARTS)
            await self._listener.rejoin()
            try:
                await _look(self._due())
            except DatabaseError as error:
                log.warning("The heads of the watched runs could not be read: %s", error)

    def _due(self) -> Sequence[Watching]:
        now = asyncio.get_running_loop().time()
        seen_before = now - LOOK_SECONDS * (1 - 1 / PARTS)
        due = list(
            takewhile(lambda subscription: self._subscriptions[subscription] <= seen_before, self._subscriptions)
        )
        for subscription in due:
            del self._subscriptions[subscription]
            self._subscriptions[subscription] = now
        return due


async def _look(subscriptions: Sequence[Watching]) -> None:
    open_runs = {s.feed.run_id for s in subscriptions if isinstance(s.feed, RunFeed) and not s.feed.is_over}
    heads = await reading(_heads)(list(open_runs)) if open_runs else {}
    for subscription in subscriptions:
        feed = subscription.feed
        if not isinstance(feed, RunFeed):
            subscription.hear({})
        elif heads.get(feed.run_id, 0) > feed.seq:
            subscription.hear({str(feed.run_id): heads[feed.run_id]})


def _heads(run_ids: Sequence[UUID]) -> dict[UUID, int]:
    return dict(GraphExecution.objects.filter(pk__in=run_ids).values_list("pk", "head_seq"))


_lookouts: WeakKeyDictionary[Listener, Lookout] = WeakKeyDictionary()


def lookout_of(listener: Listener) -> Lookout:
    """The one lookout of all who share the listener."""
    return _lookouts.setdefault(listener, Lookout(listener))
