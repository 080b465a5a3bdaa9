"""Hearing hints: all sockets of a process share one channel of the layer, and one subscription to each group."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from channels.layers import get_channel_layer

from core.errors import Unavailable
from core.hints import News, message

log = logging.getLogger(__name__)

# Is called within the event loop, with the things that changed and the number up to which they did.
Hear = Callable[[Mapping[str, int]], None]

_PAUSE_AFTER_FAILURE = 1.0


class Listener:
    """Tells everybody who listens to a topic the news of it. Belongs to one event loop; see `listening`."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._channel = ""
        self._receiver: asyncio.Task[None] | None = None
        # One at a time: a group that is left and joined again must end up joined.
        self._changing = asyncio.Lock()
        self._ears: dict[str, set[Hear]] = {}
        self._listeners: Counter[str] = Counter()
        self._joined: set[str] = set()
        self.users = 0

    async def open(self) -> None:
        """Begin to listen if nobody did before, and see that the layer works; raises whatever its client raises."""
        async with self._changing:
            if self._receiver is None:
                self._channel = await self._layer.new_channel()
                self._receiver = asyncio.create_task(self._receive())
        await self._layer.send(self._channel, message({}))

    async def close(self) -> None:
        """Listen no more."""
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.gather(self._receiver, return_exceptions=True)

    async def listen(self, group: str, topic: str, hear: Hear) -> None:
        """Have `hear` called with the news of a topic, which are sent to the group.

        While the layer does not take the group there are no news: call `rejoin` by and by.
        """
        self._ears.setdefault(topic, set()).add(hear)
        self._listeners[group] += 1
        if group not in self._joined:
            await self._settle(group)

    async def leave(self, group: str, topic: str, hear: Hear) -> None:
        """Call `hear` with news of the topic no more; the group is left with the last who listens to it."""
        ears = self._ears[topic]
        ears.discard(hear)
        if not ears:
            del self._ears[topic]
        self._listeners[group] -= 1
        if not self._listeners[group]:
            del self._listeners[group]
            await self._settle(group)

    async def rejoin(self) -> None:
        """Join the groups that the layer has not taken so far."""
        for group in self._listeners.keys() - self._joined:
            await self._settle(group)

    async def _settle(self, group: str) -> None:
        async with self._changing:
            is_wanted, is_joined = group in self._listeners, group in self._joined
            try:
                if is_wanted and not is_joined:
                    await self._layer.group_add(group, self._channel)
                    self._joined.add(group)
                elif is_joined and not is_wanted:
                    self._joined.discard(group)
                    await self._layer.group_discard(group, self._channel)
            # Any failure of the layer: whoever listens also looks every few seconds.
            except Exception as error:
                log.warning("The channel layer did not change who listens to %s: %s", group, error)

    async def _receive(self) -> None:
        while True:
            try:
                hint = await self._layer.receive(self._channel)
                self._tell(hint["news"])
            # A message of somebody else, or a failure of the layer; the next may be a good one.
            except Exception:
                log.exception("A hint could not be taken")
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)

    def _tell(self, news: News) -> None:
        for topic, things in news.items():
            for hear in self._ears.get(topic, ()):
                hear(things)


_listeners: dict[Any, Listener] = {}


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """The listener of this event loop, there as long as anybody uses it.

    Raises `Unavailable` when the channel layer does not answer.
    """
    layer = get_channel_layer()
    key = asyncio.get_running_loop(), layer
    listener = _listeners.setdefault(key, Listener(layer))
    listener.users += 1
    try:
        try:
            await listener.open()
        # Whatever the layer's client library raises.
        except Exception as error:
            raise Unavailable(f"The channel layer does not answer: {error}") from error
        yield listener
    finally:
        listener.users -= 1
        if not listener.users:
            del _listeners[key]
            await listener.close()
