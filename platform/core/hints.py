"""Hints: messages to whoever watches that only say what to look at. Losing one costs time, never data.

A hint goes to a group and bears news: for each topic the things that changed and the number up to which they did.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from channels.layers import get_channel_layer

log = logging.getLogger(__name__)

News = Mapping[str, Mapping[str, int]]


def message(news: News) -> dict[str, Any]:
    """The news as a message of the channel layer."""
    return {"type": "hint", "news": news}


class Hints:
    """Sends hints from one long-lived event loop; news that wait for the same group leave together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[str, dict[str, dict[str, int]]] = {}
        self._sender: asyncio.Task[None] | None = None

    def send(self, group: str, news: News) -> None:
        """Tell the group, from within the loop; returns at once."""
        waiting = self._waiting.setdefault(group, {})
        for topic, things in news.items():
            waiting.setdefault(topic, {}).update(things)
        if self._sender is None or self._sender.done():
            self._sender = self._loop.create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            sending = [layer.group_send(group, message(news)) for group, news in waiting.items()]
            for result in await asyncio.gather(*sending, return_exceptions=True):
                # Any failure of the layer: whoever watches has a heartbeat to fall back on.
                if isinstance(result, Exception):
                    log.warning("A hint was lost: %s", result)
