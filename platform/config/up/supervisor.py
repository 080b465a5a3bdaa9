"""Keeps the children alive and stops them in order."""

import asyncio
from collections.abc import Sequence

from config.embedded import Embedded
from config.up.children import Child
from config.up.console import LogTail, warn

_LOOK_EVERY = 0.25


class ServiceEnded(Exception):
    """Postgres or Valkey ended by itself: nothing can go on."""


class Supervisor:
    """The children of one platform, in the order in which they start; they stop in the order beat, workers, web."""

    def __init__(self, *, web: Child, workers: Sequence[Child], beat: Child, embedded: Embedded | None) -> None:
        self._web = web
        self._workers = workers
        self._beat = beat
        self._embedded = embedded
        self._tails = {child.name: LogTail(child.log) for child in self.children}

    @property
    def children(self) -> list[Child]:
        """All of them, in the order in which they start."""
        return [self._web, *self._workers, self._beat]

    def start(self) -> None:
        """Start every child without waiting for it."""
        for child in self.children:
            child.start()

    async def watch(self) -> None:
        """Start again what dies, and pass on warnings, until cancelled; raises `ServiceEnded`."""
        while True:
            for child in self.children:
                trouble = child.keep_alive()
                if trouble:
                    warn(child.name, trouble)
            self.tell_news()
            ended = self._embedded.ended() if self._embedded else None
            if ended:
                raise ServiceEnded(f"{ended} ended by itself; its log is in the folder logs of TASKLOOM_HOME.")
            await asyncio.sleep(_LOOK_EVERY)

    def tell_news(self) -> None:
        """Print what the children's logs gained that is worth telling."""
        for name, tail in self._tails.items():
            for line in tail.news():
                warn(name, line)

    def stop(self) -> None:
        """Beat first, so that nothing new is sent; then the workers, together; the web last."""
        self._beat.stop()
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop()
        self._web.stop()
        self.tell_news()
