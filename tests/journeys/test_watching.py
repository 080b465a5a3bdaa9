"""A client of the public interface, with a real server and a real worker: it misses nothing, whatever is cut."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import ClientConnection, connect

from accounts.models import User
from config.embedded.folders import make_private
from config.embedded.paths import redis_url, socket_folder
from config.embedded.valkey import Valkey
from tests.drawing import Drawn, draw
from tests.drill.drill import Plan, play
from tests.make import PASSWORD
from tests.workers import ROOT, environment, worker

NODES = 60

pytestmark = [pytest.mark.journey, pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

Event = dict[str, Any]


class Server:
    """A web server of our own on a free port."""

    def __init__(self, log: Path, settings: Mapping[str, str]) -> None:
        self._log = log
        self._settings = settings
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting."""
        command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(self.port)]
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--lifespan", "off"],
                cwd=ROOT,
                env=environment(**self._settings),
                stdout=output,
                stderr=output,
            )

    def end(self, by: signal.Signals) -> None:
        """Send it a signal and wait."""
        assert self.process is not None
        self.process.send_signal(by)
        self.process.wait(20)

    def kill(self) -> None:
        """End it at once."""
        self.end(signal.SIGKILL)

    async def until_up(self) -> None:
        """Wait until it answers."""
        async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
            while True:
                try:
                    (await client.get(f"http://127.0.0.1:{self.port}/health")).raise_for_status()
                except httpx2.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    return


@contextmanager
def a_server(log: Path, **settings: str) -> Iterator[Server]:
    """A web server until the block ends."""
    server = Server(log, settings)
    server.start()
    try:
        yield server
    finally:
        server.end(signal.SIGTERM)


@contextmanager
def own_valkey(home: Path) -> Iterator[Valkey]:
    """A Valkey that nobody else needs, until the block ends."""
    make_private(socket_folder(home), owner=os.geteuid())
    valkey = Valkey(home, durable=False)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.stop()


@asynccontextmanager
async def logged_in(server: Server, user: User) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """A REST client of the user, and the address of the WebSocket."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=20) as client:
        answer = await client.post("/api/auth/token", json={"email": user.email, "password": PASSWORD})
        token = answer.json()["access"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client, f"ws://127.0.0.1:{server.port}/ws?token={token}"


async def subscribed(ws: ClientConnection, run_id: str, after_seq: int) -> None:
    """Subscribe to what follows."""
    data = {"graph_exec_id": run_id, "after_seq": after_seq}
    await ws.send(json.dumps({"method": "subscribe_graph_execution", "data": data}))
    reply = json.loads(await ws.recv())
    assert reply["success"] is True, reply


async def collect(address: str, run_id: str, events: list[Event], most: int) -> bool:
    """Add up to `most` events of a run, beginning after those there are; whether the run has ended."""
    async with connect(address, proxy=None) as ws:
        await subscribed(ws, run_id, len(events))
        for _ in range(most):
            events.append(json.loads(await ws.recv())["data"])
            if events[-1]["event_type"] == "graph_execution_update" and events[-1]["ended_at"]:
                return True
    return False


async def drawn(owner: User, log: Path) -> Drawn:
    """Nodes in a line, every second one taking a moment outside."""
    nodes: dict[str, Any] = {}
    for n in range(NODES):
        adding = ("Calculator", {"operation": "Add", "b": 1, **({"a": 0} if n == 0 else {})})
        nodes[f"n{n}"] = ("ProbeKeyed", {"seconds": 0.02, "log": str(log)}) if n % 2 else adding
    links = [f"n{n}.result -> n{n + 1}.value" if n % 2 == 0 else f"n{n}.value -> n{n + 1}.a" for n in range(NODES - 1)]
    return await sync_to_async(draw)(owner, nodes, links)


async def test_a_watcher_who_is_cut_off_again_and_again_misses_nothing(owner: User, tmp_path: Path) -> None:
    with worker(tmp_path / "worker.log"), a_server(tmp_path / "web.log") as server:
        await server.until_up()
        graph = await drawn(owner, tmp_path / "turns")
        async with logged_in(server, owner) as (client, address):
            started = (await client.post(f"/api/graphs/{graph.id}/execute/1", json={"inputs": {}})).json()
            events: list[Event] = []
            while not await collect(address, started["id"], events, most=20):
                pass
            finished = (await client.get(f"/api/graphs/{graph.id}/executions/{started['id']}")).json()
    assert [event["seq"] for event in events] == list(range(1, finished["seq"] + 1))
    assert events[-1]["status"] == finished["status"] == "COMPLETED"
    completed = [event for event in events if event["event_type"] == "node_execution_update" and event["end_time"]]
    assert [event["node_id"] for event in completed] == [str(graph.nodes[f"n{n}"]) for n in range(NODES)]
    # What the events told is what the rows say.
    said = {event["node_exec_id"]: event["output_data"] for event in completed}
    assert said == {node["node_exec_id"]: node["output_data"] for node in finished["node_executions"]}


async def test_nobody_misses_anything_though_the_server_is_killed_and_redis_forgets(
    owner: User, tmp_path: Path
) -> None:
    graph = await sync_to_async(draw)(owner, {"a": ("CountdownTimer", {"seconds": 0.4, "repeat": 16})})
    plan = Plan(runs=5, sockets=10, streams=3, kills=1, calm=0.5)
    with own_valkey(tmp_path / "valkey") as valkey:
        redis = {"REDIS_URL": redis_url(tmp_path / "valkey")}

        def restart() -> None:
            valkey.stop()
            valkey.start()

        with worker(tmp_path / "worker.log", **redis), a_server(tmp_path / "web.log", **redis) as server:
            await server.until_up()
            outcome = await play(plan, server, restart, email=owner.email, password=PASSWORD, graph_id=graph.id)
    assert outcome.is_right, outcome
    # Runs that begin, wait and give something sixteen times, and end, for each who watches.
    assert outcome.received == outcome.events // plan.runs * 13
    assert outcome.events >= plan.runs * 16
    # Not only the lookout noticed that something happened.
    assert outcome.heard_again < 10


async def test_the_same_key_over_the_network_starts_one_run(owner: User, tmp_path: Path) -> None:
    with a_server(tmp_path / "web.log") as server:
        await server.until_up()
        graph = await sync_to_async(draw)(owner, {"in": ("AgentInput", {"name": "who"})})
        async with logged_in(server, owner) as (client, _):
            answers = await asyncio.gather(
                *(
                    client.post(
                        f"/api/graphs/{graph.id}/execute/1",
                        json={"inputs": {"who": "World"}},
                        headers={"Idempotency-Key": "k"},
                    )
                    for _ in range(20)
                )
            )
            listed = (await client.get("/api/executions")).json()
    assert {answer.status_code for answer in answers} == {200}
    assert [run["id"] for run in listed] == list({answer.json()["id"] for answer in answers})
