"""One feed on its way to one socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from executions.reading import Wire

log = logging.getLogger(__name__)

# A few threads read for all sockets of the process, so that many watchers cannot take every database connection.
_readers = ThreadPoolExecutor(4, thread_name_prefix="sockets")

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def reading(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, Awaitable[_Result]]:
    """The same function for use in the event loop: a thread calls it and gives its connection back."""
    return database_sync_to_async(function, thread_sensitive=False, executor=_readers)


class Feed(Protocol):
    """Something to watch."""

    is_over: bool

    def open(self) -> list[Wire]:
        """Begin; raises a `DomainError` when this may not be watched."""

    def next_page(self) -> list[Wire]:
        """What is new since the last call."""


class Subscription:
    """Reads a feed when told that there may be something new, and sends it at the pace of the socket.

    After a read it rests for `pause` seconds. `group` is where the channel layer tells of news.
    """

    def __init__(
        self, feed: Feed, send: Callable[[Wire], Awaitable[None]], *, channel: str, group: str, pause: float = 0.0
    ) -> None:
        self.feed = feed
        self.channel = channel
        self.group = group
        self.has_joined = False
        self._send = send
        self._pause = pause
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, snapshot: list[Wire]) -> None:
        """Send how things are, then what follows."""
        self._news.set()
        self._task = asyncio.create_task(self._forward(snapshot))

    def look(self) -> None:
        """There may be something new."""
        self._news.set()

    async def stop(self) -> None:
        """Send nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forward(self, page: list[Wire]) -> None:
        try:
            await self._send_page(page)
            while not self.feed.is_over:
                await self._news.wait()
                self._news.clear()
                await self._send_news()
                await asyncio.sleep(self._pause)
        except OSError:
            log.debug("The socket of %s is gone", self.channel)
        # Nobody awaits this task, so what is wrong with the code would be told to nobody.
        except Exception:
            log.exception("The subscription %s ended", self.channel)

    async def _send_news(self) -> None:
        try:
            while page := await reading(self.feed.next_page)():
                await self._send_page(page)
        except DatabaseError as error:
            log.warning("The subscription %s could not be read and is tried again later: %s", self.channel, error)

    async def _send_page(self, page: list[Wire]) -> None:
        for event in page:
            await self._send(event)
