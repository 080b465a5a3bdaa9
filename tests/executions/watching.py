"""A client of the WebSocket for tests, on the real application."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async

from accounts import services
from accounts.models import User
from config.asgi import application
from tests.websocket import WebSocket

Message = dict[str, Any]
PATIENCE = 5.0


class Watcher:
    """An open socket."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket

    async def send(self, method: str, **data: Any) -> None:
        """Send a method with its data."""
        await self.socket.send_to(text_data=json.dumps({"method": method, "data": data}))

    async def ask(self, method: str, **data: Any) -> Message:
        """Send a method and return the next message."""
        await self.send(method, **data)
        return await self.next()

    async def next(self, timeout: float = PATIENCE) -> Message:
        """The next message."""
        message: Message = json.loads(await self.socket.receive_from(timeout))
        return message

    async def follow(self, run_id: UUID, **data: Any) -> list[Message]:
        """Subscribe to a run and return its events up to the one that ends it."""
        reply = await self.ask("subscribe_graph_execution", graph_exec_id=str(run_id), **data)
        assert reply["method"] == "subscribe_graph_execution", reply
        return await self.until_end()

    async def until_end(self) -> list[Message]:
        """The events up to the one that ends a run."""
        events = []
        while True:
            message = await self.next()
            assert message["method"] in ("graph_execution_event", "node_execution_event"), message
            events.append(message["data"])
            if message["method"] == "graph_execution_event" and message["data"]["ended_at"]:
                return events

    async def is_quiet(self) -> bool:
        """Whether nothing arrives for a moment."""
        return await self.socket.receive_nothing(timeout=0.3)


@asynccontextmanager
async def watching(user: User) -> AsyncIterator[Watcher]:
    """A socket of `user`."""
    tokens = await database_sync_to_async(services.issue_tokens)(user)
    socket = WebSocket(application, f"/ws?token={tokens.access}")
    connected, _ = await socket.connect(PATIENCE)
    assert connected
    try:
        yield Watcher(socket)
    finally:
        # A socket that was waited for in vain is cancelled by then, and pytest does not stand that.
        with suppress(asyncio.CancelledError):
            await socket.disconnect(timeout=PATIENCE)


def seqs(events: Iterable[Message]) -> list[int]:
    """The numbers of events."""
    return [event["seq"] for event in events]
