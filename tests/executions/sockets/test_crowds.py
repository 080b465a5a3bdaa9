"""Many sockets on one run."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from accounts.models import User
from executions import consumers, services
from executions.engine.engine import Engine
from executions.models import GraphExecution
from executions.watching import feeds, pages, run_events
from executions.watching.pages import Given, Page
from graphs.models import GraphVersion
from tests.drawing import draw
from tests.executions.conftest import ended
from tests.executions.sockets.conftest import PAUSE, Start, finished


class Socket:
    """A socket of a user without a server around it; it takes messages while `takes` is set."""

    def __init__(self, user: User) -> None:
        self.texts: list[str] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._serving = asyncio.create_task(consumers.consume({"user": user}, self._incoming.get, self._take))

    async def watch(self, run_id: UUID, after_seq: int) -> None:
        """Subscribe to a run and wait for the reply."""
        data = {"graph_exec_id": str(run_id), "after_seq": after_seq}
        text = json.dumps({"method": "subscribe_graph_execution", "data": data})
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})
        await self.has(1)
        assert json.loads(self.texts.pop(0))["success"] is True

    async def has(self, count: int) -> None:
        """Wait until so many messages came."""
        async with asyncio.timeout(20):
            while len(self.texts) < count:
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Hang up."""
        self.takes.set()
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self._serving, 5)

    async def _take(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        if message["type"] == "websocket.send":
            self.texts.append(message["text"])


@pytest.fixture
async def sockets(owner: User) -> AsyncIterator[list[Socket]]:
    """Two hundred sockets of the owner."""
    sockets = [Socket(owner) for _ in range(200)]
    yield sockets
    await asyncio.gather(*(socket.close() for socket in sockets))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, int]]:
    """The pages of events that are read: of which run, after which event."""
    reads: list[tuple[UUID, int]] = []

    def page_after(run_id: UUID, seq: int, given: Given) -> Page:
        reads.append((run_id, seq))
        return pages.page_after(run_id, seq, given)

    monkeypatch.setattr(run_events, "page_after", page_after)
    return reads


async def test_all_sockets_that_watch_a_run_get_the_same_bytes_of_one_read(
    sockets: list[Socket], reads: list[tuple[UUID, int]], graph: GraphVersion, start: Start
) -> None:
    run = await start(graph, who="World")
    await asyncio.gather(*(socket.watch(run.pk, 1) for socket in sockets))
    assert reads == []
    await sync_to_async(services.stop_run)(run.pk)
    for socket in sockets:
        await socket.has(1)
    assert reads == [(run.pk, 1)]
    assert [json.loads(text)["data"]["status"] for text in sockets[0].texts] == ["TERMINATED"]
    assert all(socket.texts == sockets[0].texts for socket in sockets)
    # Nobody keeps the page for long.
    async with asyncio.timeout(5):
        while any(str(run.pk) in str(key) for key in feeds._reads._tasks):
            await asyncio.sleep(0.01)


async def test_sockets_that_come_later_catch_up_and_then_share_what_the_others_read(
    sockets: list[Socket], reads: list[tuple[UUID, int]], owner: User, start: Start, engine: Engine
) -> None:
    run = await start(await sync_to_async(draw)(owner, PAUSE))
    early, late = sockets[:100], sockets[100:]
    await asyncio.gather(*(socket.watch(run.pk, 1) for socket in early))
    engine.ring([run.pk])
    for socket in early:
        await socket.has(1)
    await asyncio.gather(*(socket.watch(run.pk, 0) for socket in late))
    await sync_to_async(ended)(run.pk)
    head = (await GraphExecution.objects.aget(pk=run.pk)).head_seq
    for socket in early:
        await socket.has(head - 1)
    for socket in late:
        await socket.has(head)
    whole = late[0].texts
    assert [json.loads(text)["data"]["seq"] for text in whole] == list(range(1, head + 1))
    assert all(socket.texts == whole for socket in late)
    assert all(socket.texts == whole[1:] for socket in early)
    # A page for each commit, and what those who came later had to read alone: some pages all the same, not hundreds.
    assert len(reads) < 20


async def test_a_slow_socket_does_not_hold_up_the_others_and_misses_nothing(
    sockets: list[Socket], owner: User, start: Start, engine: Engine
) -> None:
    run = await start(await sync_to_async(draw)(owner, PAUSE))
    slow, *others = sockets
    await asyncio.gather(*(socket.watch(run.pk, 0) for socket in sockets))
    slow.takes.clear()
    await finished(engine, run)
    head = (await GraphExecution.objects.aget(pk=run.pk)).head_seq
    for socket in others:
        await socket.has(head)
    assert len(slow.texts) < head
    slow.takes.set()
    await slow.has(head)
    assert slow.texts == others[0].texts


# --- What is refused --------------------------------------------------------------------------------------------
