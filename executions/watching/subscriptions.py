"""One feed on its way to one socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from django.db import Error as DatabaseError

log = logging.getLogger(__name__)


class Feed(Protocol):
    """Something to watch. `topic` is where the hints about it go, `channel` its name on the wire.

    After a read one rests for as long as it took, but for `longest_rest` seconds at most: 0 for not at all.
    """

    channel: str
    topic: str
    is_over: bool
    longest_rest: float

    async def open(self) -> Sequence[str]:
        """Begin, with the first messages; raises a `DomainError` when this may not be watched."""

    def hear(self, heads: Mapping[str, int], wake: Callable[[], None]) -> None:
        """These runs have events up to these numbers; without any, something may have changed.

        `wake` is called once `next_page` has something to do.
        """

    async def next_page(self) -> Sequence[str]:
        """The messages about what is new, as far as was heard; empty when there is nothing."""


class Watching(Protocol):
    """Somebody who watches a feed and can be told that there is news."""

    @property
    def feed(self) -> Feed:
        """What is watched."""

    def hear(self, heads: Mapping[str, int]) -> None:
        """There is something new; see `Feed.hear`."""


class Subscription:
    """Reads a feed when told that there is something new, and sends it at the pace of the socket."""

    def __init__(self, feed: Feed, send: Callable[[str], Awaitable[None]]) -> None:
        self.feed = feed
        self._send = send
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, snapshot: Sequence[str]) -> None:
        """Send how things are, then what follows."""
        self._news.set()
        self._task = asyncio.create_task(self._forward(snapshot))

    def hear(self, heads: Mapping[str, int]) -> None:
        """There is something new; see `Feed.hear`."""
        self.feed.hear(heads, self._news.set)

    async def stop(self) -> None:
        """Send nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forward(self, page: Sequence[str]) -> None:
        try:
            await self._send_page(page)
            while not self.feed.is_over:
                await self._news.wait()
                self._news.clear()
                await self._send_news()
        except OSError:
            log.debug("The socket of %s is gone", self.feed.channel)
        # Nobody awaits this task, so what is wrong with the code would be told to nobody.
        except Exception:
            log.exception("The subscription %s ended", self.feed.channel)

    async def _send_news(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            began = clock()
            while page := await self.feed.next_page():
                took = clock() - began
                await self._send_page(page)
                # Whoever watches something busy takes half a processor at most.
                await asyncio.sleep(min(took, self.feed.longest_rest))
                began = clock()
        except DatabaseError as error:
            log.warning("The subscription %s could not be read and is tried again later: %s", self.feed.channel, error)

    async def _send_page(self, page: Sequence[str]) -> None:
        for text in page:
            await self._send(text)
