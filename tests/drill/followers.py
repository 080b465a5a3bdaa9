"""Clients that follow a run to its end, however often they are cut off, and note what comes."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

# What a client that is cut off waits before it comes again: not all at once, or the server that is back would drown.
_PAUSE = (0.1, 0.6)
_CUT_OFF = (OSError, WebSocketException, httpx2.HTTPError, TimeoutError)


@dataclass
class Follower:
    """What one client got of one run."""

    run_id: str
    graph_id: str
    last: int = 0
    missing: int = 0
    disordered: int = 0
    connections: int = 0
    is_done: bool = False
    # When each event arrived, and how many seconds after it happened.
    arrivals: list[tuple[float, float]] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> None:
        """Note an event."""
        event = message["data"]
        seq, now = event["seq"], time.time()
        if seq <= self.last:
            self.disordered += 1
        else:
            self.missing += seq - self.last - 1
            self.last = seq
        self.arrivals.append((now, now - datetime.fromisoformat(event["at"]).timestamp()))
        self.is_done = message["method"] == "graph_execution_event" and event["ended_at"] is not None


Attempt = Callable[[Follower, httpx2.AsyncClient], Awaitable[None]]


async def follow(follower: Follower, attempt: Attempt, rest: httpx2.AsyncClient) -> None:
    """Connect again and again until the run has ended."""
    while not follower.is_done:
        try:
            await attempt(follower, rest)
        except _CUT_OFF:
            await asyncio.sleep(random.uniform(*_PAUSE))


async def by_socket(follower: Follower, rest: httpx2.AsyncClient) -> None:
    """Follow over a WebSocket that a ticket opens, until it is cut or the run has ended."""
    answer = await rest.post("/api/auth/ticket")
    answer.raise_for_status()
    address = f"ws://{rest.base_url.host}:{rest.base_url.port}/ws"
    protocols: Any = ["ticket", answer.json()["ticket"]]
    async with connect(address, subprotocols=protocols, proxy=None, open_timeout=20) as ws:
        follower.connections += 1
        data = {"graph_exec_id": follower.run_id, "after_seq": follower.last}
        await ws.send(json.dumps({"method": "subscribe_graph_execution", "data": data}))
        reply = json.loads(await ws.recv())
        assert reply["success"] is True, reply
        while not follower.is_done:
            follower.take(json.loads(await ws.recv()))


async def by_stream(follower: Follower, rest: httpx2.AsyncClient) -> None:
    """Follow as a browser does with an EventSource, until it is cut or the run has ended."""
    path = f"/api/graphs/{follower.graph_id}/executions/{follower.run_id}/events"
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(follower.last)}
    async with rest.stream("GET", path, headers=headers) as answer:
        answer.raise_for_status()
        follower.connections += 1
        number = 0
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                number = int(line.removeprefix("id: "))
            elif line.startswith("data: "):
                follower.take(json.loads(line.removeprefix("data: ")))
                assert number == follower.last
