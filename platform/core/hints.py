"""Hints: messages to whoever watches that only say "look". Losing one costs time, never data."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from channels.layers import get_channel_layer

log = logging.getLogger(__name__)


class Hints:
    """Sends hints from one long-lived event loop; a newer hint about the same thing replaces one not yet sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[tuple[str, str], dict[str, Any]] = {}
        self._sender: asyncio.Task[None] | None = None

    def send(self, groups: Iterable[str], about: str, message: dict[str, Any]) -> None:
        """Tell the groups, from within the loop; returns at once. `message["type"]` names the consumers' method."""
        self._waiting.update(((group, about), message) for group in groups)
        if self._sender is None or self._sender.done():
            self._sender = self._loop.create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            sending = [layer.group_send(group, message) for (group, _), message in waiting.items()]
            for result in await asyncio.gather(*sending, return_exceptions=True):
                # Any failure of the layer: whoever watches has a heartbeat to fall back on.
                if isinstance(result, Exception):
                    log.warning("A hint was lost: %s", result)
