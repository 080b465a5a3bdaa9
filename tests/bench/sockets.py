"""How soon an event is on the sockets that watch.

Measured is from the event's `at` (the start of the transaction that commits it, by the database's clock) until the
bytes of its message have arrived at a socket. All processes share one machine and so one clock.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.figures import Check, Line, Section, percentile
from tests.bench.graphs import Graphs
from tests.bench.installation import Installation, running, somebody
from tests.bench.rest import Rest
from tests.bench.watchers import Watcher, subscribe_all, watchers
from tests.drawing import Drawn

SOCKETS = 200
# The events of the watched run come in so many pairs: a node ends and the next begins.
COMMITS = 10
PACE = 1.0
COUNTDOWN = 12.0
# Between the ends of two countdowns, so that one event is on its way at a time.
APART = 0.04
P50, P95 = 10, 30
PATIENCE = 60.0


def measure() -> Section:
    """Watch one run with all sockets, then a run with each."""
    section = Section(f"Events on {SOCKETS} sockets after the commit")
    with running() as installation, tempfile.TemporaryDirectory() as folder:
        user = somebody("watched")
        graphs = Graphs(user, lambda _: None)
        rest = installation.log_in(user)
        for what, latencies in (
            (f"one run, {SOCKETS} watch it", uvloop.run(_one_run(installation, graphs, rest, Path(folder)))),
            (f"{SOCKETS} runs, each watched by one", uvloop.run(_a_run_each(installation, graphs, rest))),
        ):
            for name, part, limit in (("p50", 0.5, P50), ("p95", 0.95, P95)):
                figure = percentile(latencies, part)
                how = f"{name} of {len(latencies)}"
                section.lines.append(Line(what, how, "ms", [figure], [Check(figure, "ms", limit)]))
    return section


async def _one_run(installation: Installation, graphs: Graphs, rest: Rest, folder: Path) -> list[float]:
    hold = folder / "hold"
    hold.touch()
    graph = await asyncio.to_thread(graphs.paced, COMMITS, PACE, str(hold))
    run_id = _start(rest, graph)
    sockets = await watchers(SOCKETS, port=installation.port, token=rest.token)
    await subscribe_all(sockets, [run_id] * SOCKETS)
    since = time.time()
    hold.unlink()
    await asyncio.sleep((COMMITS + 1) * PACE)
    return await _latencies(sockets, since, expected=2 * COMMITS * SOCKETS)


async def _a_run_each(installation: Installation, graphs: Graphs, rest: Rest) -> list[float]:
    sockets = await watchers(SOCKETS, port=installation.port, token=rest.token)
    drawn = [await asyncio.to_thread(graphs.countdown, COUNTDOWN + place * APART) for place in range(SOCKETS)]
    run_ids = [_start(rest, graph) for graph in drawn]
    await subscribe_all(sockets, run_ids)
    since = time.time()
    await asyncio.sleep(COUNTDOWN + SOCKETS * APART)
    return await _latencies(sockets, since, expected=2 * SOCKETS)


def _start(rest: Rest, graph: Drawn) -> str:
    return str(rest.send("POST", f"/api/graphs/{graph.id}/execute/{graph.version}", {"inputs": {}})["id"])


async def _latencies(sockets: Sequence[Watcher], since: float, *, expected: int) -> list[float]:
    """Milliseconds from the commit to the arrival, for each event after `since` on each socket; hangs up."""
    deadline = time.monotonic() + PATIENCE
    while len(found := _found(sockets, since)) < expected:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Only {len(found)} events arrived, not {expected}")
        await asyncio.sleep(0.2)
    for socket in sockets:
        socket.close()
    return found


def _found(sockets: Sequence[Watcher], since: float) -> list[float]:
    times = [(arrived, _time_of(message)) for socket in sockets for arrived, message in socket.messages()]
    return [(arrived - at) * 1000 for arrived, at in times if at is not None and at > since]


def _time_of(message: dict[str, Any]) -> float | None:
    """When the event of a message became true; None if it is something else."""
    event = message.get("data")
    if not isinstance(event, dict) or event.get("snapshot") or "at" not in event:
        return None
    return datetime.fromisoformat(event["at"]).timestamp()
