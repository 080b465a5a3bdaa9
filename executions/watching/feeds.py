"""What a watcher of a run is sent, read page by page: nothing is queued, so a slow one costs no memory."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from accounts.models import User
from executions import events
from executions.watching.messages import event_text
from executions.watching.readers import SharedReads, reading
from executions.watching.run_events import Place, events_after, opening


def run_channel(user_id: UUID, run_id: UUID) -> str:
    """What a subscription to a run is called on the wire."""
    return f"{user_id}|graph_exec#{run_id}"


@dataclass(frozen=True, slots=True)
class Page:
    """Messages that follow each other, the place after them, and whether none can follow."""

    texts: Sequence[str]
    place: Place
    is_over: bool


_reads: SharedReads[Page] = SharedReads()


class RunFeed:
    """The events of one run, numbered without gaps from `after_seq` + 1, or from now on after a snapshot.

    `seq` is the number of the last event read; `is_over` tells that none can follow. Watchers of one user who stand at
    the same place get the same page, read and encoded once.
    """

    longest_rest = 0.0

    def __init__(self, user: User, run_id: UUID, after_seq: int | None = None) -> None:
        self.run_id = run_id
        self.channel = run_channel(user.pk, run_id)
        self.topic = events.run_topic(run_id)
        self.is_over = False
        self._user = user
        self._after_seq = after_seq
        self._place = Place(after_seq or 0)
        # The number of the newest event that is known of.
        self._head = 0
        # What follows the place, once it is being read.
        self._next: asyncio.Task[Page] | None = None
        # Held while its page is sent, so that others who come to where this one was meanwhile find it.
        self._last: asyncio.Task[Page] | None = None

    @property
    def seq(self) -> int:
        """The number of the last event read."""
        return self._place.seq

    async def open(self) -> Sequence[str]:
        """Begin; a feed without `after_seq` begins with the run as it is now.

        Raises `NoSuchRun` when the user has no such run, `Invalid` when `after_seq` is beyond the newest event.
        """
        told, head_seq = await reading(opening)(self._user, self.run_id, self._after_seq)
        self._place, self.is_over = told.place, told.is_over
        self._head = max(self._head, head_seq)
        return [event_text(self.channel, event) for event in told.events]

    def hear(self, heads: Mapping[str, int], wake: Callable[[], None]) -> None:
        """There are events up to this number: they are read at once, for all who stand at the same place."""
        self._head = max(self._head, *heads.values())
        if self._next is None and self._has_news:
            self._next = self._begin()
            # Not before: hundreds of sockets that woke up would be in the way of the thread that reads.
            self._next.add_done_callback(lambda _: wake())

    async def next_page(self) -> Sequence[str]:
        """The events that follow, in order; empty when there are none yet. A run that was deleted has no more."""
        self._last = None
        if not self._has_news:
            return []
        read = self._next = self._next or self._begin()
        try:
            # Others may wait for the same when this socket is closed.
            page = read.result() if read.done() else await asyncio.shield(read)
        finally:
            self._next = None
        self._last = read
        self._place, self.is_over = page.place, page.is_over
        return page.texts

    @property
    def _has_news(self) -> bool:
        return self.seq < self._head and not self.is_over

    def _begin(self) -> asyncio.Task[Page]:
        """Read what follows; one who knows of newer events does not rely on a read that began before."""
        read = partial(_page_after, self._user, self.run_id, self.channel, self._place)
        # The channel names the user and the run.
        return _reads.read((self.channel, self._place, self._head), read)


def _page_after(user: User, run_id: UUID, channel: str, place: Place) -> Page:
    told = events_after(user, run_id, place)
    return Page([event_text(channel, event) for event in told.events], told.place, told.is_over)
