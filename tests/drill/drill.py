"""One drill: runs are started and followed, the web server is killed and Valkey restarted meanwhile."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import httpx2

from executions.models import GraphExecution
from tests.drill.followers import Follower, by_socket, by_stream, follow

PATIENCE = 180.0


class Web(Protocol):
    """A web server that can be killed."""

    port: int

    def kill(self) -> None:
        """End it at once, by SIGKILL."""

    def start(self) -> None:
        """Start it again, without waiting."""

    async def until_up(self) -> None:
        """Wait until it answers."""


@dataclass(frozen=True)
class Plan:
    """How much there is to follow, how often the server is killed, and how many seconds are calm between faults."""

    runs: int
    sockets: int
    streams: int
    kills: int
    calm: float


@dataclass(frozen=True)
class Outcome:
    """What the followers got; lateness is in milliseconds, of events that happened after the last fault."""

    events: int
    received: int
    missing: int
    disordered: int
    unfinished: int
    connections: int
    lateness: Sequence[float]
    heard_again: float

    @property
    def is_right(self) -> bool:
        """Whether everybody got everything, once and in order."""
        return not (self.missing or self.disordered or self.unfinished)


async def play(
    plan: Plan, web: Web, restart_valkey: Callable[[], None], *, email: str, password: str, graph_id: UUID
) -> Outcome:
    """Start runs of the graph and follow them to their ends while the faults happen."""
    base = f"http://127.0.0.1:{web.port}"
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=base, trust_env=False, timeout=30, limits=limits) as rest:
        answer = await rest.post("/api/auth/token", json={"email": email, "password": password})
        rest.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access']}"
        body: dict[str, Any] = {"runs": [{"inputs": {}}] * plan.runs}
        answer = await rest.post(f"/api/graphs/{graph_id}/execute-batch/1", json=body)
        run_ids = [run["id"] for run in answer.raise_for_status().json()["executions"]]
        followers = [
            Follower(run_ids[place % plan.runs], str(graph_id)) for place in range(plan.sockets + plan.streams)
        ]
        ways = [by_socket] * plan.sockets + [by_stream] * plan.streams
        following = [
            asyncio.create_task(follow(follower, way, rest)) for follower, way in zip(followers, ways, strict=True)
        ]
        restarted_at, calm_since = await _strike(plan, web, restart_valkey, followers)
        _, late = await asyncio.wait(following, timeout=PATIENCE)
        for task in late:
            task.cancel()
        for result in await asyncio.gather(*following, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
    return await _outcome(followers, restarted_at, calm_since)


async def _strike(
    plan: Plan, web: Web, restart_valkey: Callable[[], None], followers: Sequence[Follower]
) -> tuple[float, float]:
    """Kill the server so often, and restart Valkey half-way; returns when that was, and since when nothing happens."""
    restarted_at = 0.0
    for number in range(plan.kills):
        await _all_get_something(followers, plan.calm)
        if number == plan.kills // 2:
            await asyncio.to_thread(restart_valkey)
            restarted_at = time.time()
            await _all_get_something(followers, plan.calm)
        await asyncio.to_thread(web.kill)
        web.start()
        await web.until_up()
    await _all_get_something(followers, plan.calm)
    return restarted_at, time.time()


async def _all_get_something(followers: Sequence[Follower], calm: float) -> None:
    """Let some time pass in which everybody who waits for more gets an event."""
    before = [follower.last for follower in followers]
    await asyncio.sleep(calm)
    async with asyncio.timeout(PATIENCE):
        while not all(
            follower.is_done or follower.last > last for follower, last in zip(followers, before, strict=True)
        ):
            await asyncio.sleep(0.05)


async def _outcome(followers: Sequence[Follower], restarted_at: float, calm_since: float) -> Outcome:
    ids = {follower.run_id for follower in followers}
    heads = {str(run.pk): run.head_seq async for run in GraphExecution.objects.filter(pk__in=ids)}
    arrivals = [arrival for follower in followers for arrival in follower.arrivals]
    return Outcome(
        events=sum(heads.values()),
        received=len(arrivals),
        missing=sum(follower.missing + heads[follower.run_id] - follower.last for follower in followers),
        disordered=sum(follower.disordered for follower in followers),
        unfinished=sum(not follower.is_done for follower in followers),
        connections=sum(follower.connections for follower in followers),
        lateness=sorted(late * 1000 for at, late in arrivals if at - late > calm_since),
        heard_again=_heard_again(arrivals, restarted_at),
    )


def _heard_again(arrivals: Sequence[tuple[float, float]], restarted_at: float) -> float:
    """How many seconds after Valkey was back an event arrived at once, so that somebody must have been told of it."""
    soon = (at for at, late in arrivals if at - late > restarted_at and late < 0.5)
    return min(soon, default=float("inf")) - restarted_at
