"""The events of one run as Server-Sent Events, read page by page at the pace of the client, as for a socket."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from threading import Lock
from uuid import UUID

from django.db import Error as DatabaseError

from accounts.open_sessions import while_it_lasts
from accounts.services import Session
from core.errors import DomainError
from core.listening import Listener, listening
from executions import events
from executions.errors import TooManyStreams
from executions.watching.feeds import RunFeed
from executions.watching.lookout import lookout_of

# What keeps proxies from taking a quiet stream for a dead one, and tells the server that its client is there.
HEARTBEAT_SECONDS = 15.0
# Of one user, in one process.
MAX_STREAMS = 20

_BEAT = b": \n\n"
# The first part sends the headers; a browser that is cut off comes again after so many milliseconds.
_BEGINNING = b"retry: 1000\n\n"

log = logging.getLogger(__name__)


class Places:
    """How many streams each user has open."""

    def __init__(self) -> None:
        self._taken: Counter[UUID] = Counter()
        self._lock = Lock()

    def take(self, user_id: UUID) -> Callable[[], None]:
        """Take a place and return what gives it back; raises `TooManyStreams` when there is none."""
        with self._lock:
            if self._taken[user_id] >= MAX_STREAMS:
                raise TooManyStreams(f"You have {MAX_STREAMS} event streams open, which is as many as one may have")
            self._taken[user_id] += 1
        return lambda: self._give_back(user_id)

    def _give_back(self, user_id: UUID) -> None:
        with self._lock:
            self._taken[user_id] -= 1
            # No entry stays behind for each user who ever had one.
            self._taken += Counter()


places = Places()


class RunStream:
    """The events of a run after the one numbered `after_seq`, up to the one that ends it."""

    def __init__(self, session: Session, run_id: UUID, after_seq: int) -> None:
        self.feed = RunFeed(session.user, run_id, after_seq)
        self._session = session
        self._news = asyncio.Event()
        self._is_over = False

    def hear(self, heads: Mapping[str, int]) -> None:
        """There is something new; see `Feed.hear`."""
        self.feed.hear(heads, self._news.set)

    async def parts(self) -> AsyncGenerator[bytes]:
        """The stream, part by part. It ends early when the session does, or when something that it needs is away."""
        yield _BEGINNING
        group = events.group(self._session.user.pk)
        try:
            with while_it_lasts(self._session, self._end):
                async with listening() as listener:
                    await listener.listen(group, self.feed.topic, self.hear)
                    try:
                        async with aclosing(self._events(listener)) as parts:
                            async for part in parts:
                                yield part
                    finally:
                        await listener.leave(group, self.feed.topic, self.hear)
        except (DomainError, DatabaseError) as error:
            log.warning("The event stream of %s ended early: %s", self.feed.channel, error)

    async def _events(self, listener: Listener) -> AsyncGenerator[bytes]:
        await self.feed.open()
        lookout = lookout_of(listener)
        lookout.add(self)
        try:
            while not self._is_done():
                self._news.clear()
                seq = self.feed.seq
                page = await self._next_page()
                for number, text in enumerate(page, seq + 1):
                    yield f"id: {number}\ndata: {text}\n\n".encode()
                if not page and not self._is_done() and not await self._hears_soon():
                    yield _BEAT
        finally:
            lookout.remove(self)

    async def _next_page(self) -> Sequence[str]:
        try:
            return await self.feed.next_page()
        except DatabaseError as error:
            log.warning("The events of %s could not be read and are tried again: %s", self.feed.channel, error)
            return []

    def _is_done(self) -> bool:
        return self._is_over or self.feed.is_over

    async def _hears_soon(self) -> bool:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _end(self, reason: str) -> None:
        log.debug("The event stream of %s ends: %s", self.feed.channel, reason)
        self._is_over = True
        self._news.set()
