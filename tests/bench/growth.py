"""Whether finding runs takes longer when there are many: claim, sweep and lists, with little in the tables and a lot.

The lists are read by two people: one owns the few runs that there are at first, the other gets all that are added.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from django.conf import settings
from django.db import connection

from accounts.models import User
from executions import services
from executions.engine.batch import Batch
from executions.engine.store import Store
from executions.engine.sweeps import Sweeps
from executions.kinds import Status
from executions.models import Event, GraphExecution
from tests.bench.figures import Check, Line, Section, percentile
from tests.bench.graphs import Graphs
from tests.bench.installation import Installation, running, somebody
from tests.bench.workloads import milliseconds, seconds
from tests.drawing import Drawn

RUNS = 1_000_000
EVENTS = 5
FEW = 250
SAMPLES = 300
# Of something that takes long there are fewer samples.
SECONDS = 20.0
PAGE = 25
# A connection tells of its scans at the latest when it was idle for ten seconds.
TELLING_SECONDS = 11.0
_BATCH = 100_000

_FINISHED = """
WITH runs AS (
    INSERT INTO executions_graphexecution (
        id, user_id, graph_id, graph_version, status, inputs, credential_inputs, nodes_input_masks, fence, head_seq,
        created_at, queued_at, started_at, ended_at, node_count, node_seconds)
    SELECT uuidv7(), %(user)s, %(graph)s, 1, 'COMPLETED', '{}', '{}', '{}', 1, %(events)s, at, at, at,
        at + interval '1 second', 1, 0.01
    FROM generate_series(1, %(runs)s) AS n, LATERAL (SELECT now() - make_interval(secs => n)) AS made(at)
    RETURNING id, ended_at
)
INSERT INTO executions_event (run_id, seq, kind, at)
SELECT id, seq, CASE seq WHEN 1 THEN 'run.queued' WHEN %(events)s THEN 'run.completed' ELSE 'node.completed' END,
    ended_at
FROM runs, generate_series(1, %(events)s) AS seq
"""

Samples = dict[str, list[float]]


def measure() -> Section:
    """Measure, fill the tables, measure again."""
    section = Section(f"Growth: p99 with {RUNS:,} finished runs and {RUNS * EVENTS:,} events, beside {FEW} runs")
    with running(workers=0) as installation:
        few, many = (Owner(name, installation) for name in ("few", "many"))
        for owner in (few, many):
            owner.add(FEW)
        _tidy()
        before = _measured(few, many)
        sys.stderr.write(f"filled in {seconds(lambda: many.add(RUNS)):.0f} s\n")
        _tidy()
        scans = _Scans()
        after = _measured(few, many, scans.count)
    for what, samples in after.items():
        for name, part in (("p50", 0.5), ("p99", 0.99)):
            empty, full = percentile(before[what], part), percentile(samples, part)
            checks = [Check(full / empty, f"× {name} at {FEW}", 1.5)] if name == "p99" else []
            section.lines.append(Line(what, f"{name}, {FEW} runs", "ms", [empty]))
            section.lines.append(Line(what, f"{name}, {RUNS:,} runs", "ms", [full], checks))
        found = scans.found[what]
        section.lines.append(Line(what, "sequential scans", "", [found], [Check(found, "scans", 0)]))
    section.notes.append(
        "Read by HTTP: the lists. Sequential scans are those of runs and events, as Postgres counts them."
    )
    return section


class Owner:
    """Somebody with runs of one graph."""

    def __init__(self, name: str, installation: Installation) -> None:
        self.user: User = somebody(name)
        self.graph: Drawn = Graphs(self.user, lambda _: None).chain(1)
        self.rest = installation.log_in(self.user)

    def add(self, runs: int) -> None:
        """Give them finished runs with their events, as a run leaves them."""
        for start in range(0, runs, _BATCH):
            count = min(_BATCH, runs - start)
            with connection.cursor() as cursor:
                cursor.execute(
                    _FINISHED, {"user": self.user.pk, "graph": self.graph.id, "events": EVENTS, "runs": count}
                )


class _Scans:
    """Counts how often the runs or the events were read from end to end."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        self._before = _scans()

    def count(self, what: str) -> None:
        """Those since the last count belong to this."""
        now = _scans()
        self.found[what] = now - self._before
        self._before = now


def _measured(few: Owner, many: Owner, counted: Callable[[str], None] | None = None) -> Samples:
    """The milliseconds of each kind of question; `counted` is told of each kind when it is through."""
    kinds: dict[str, Callable[[], list[float]]] = {
        "claim": lambda: uvloop.run(_with_store(lambda store: _claims(store, few))),
        "sweep": lambda: uvloop.run(_with_store(_sweeps)),
    }
    for owner, whose in ((few, "few runs"), (many, "most runs")):
        path = f"/api/graphs/{owner.graph.id}/executions?page_size={PAGE}"
        kinds[f"GET executions of a graph with {whose}"] = _gets(owner, path)
        kinds[f"GET executions of a user with {whose}"] = _gets(owner, f"/api/executions?page_size={PAGE}")
    found: Samples = {}
    for what, sample in kinds.items():
        found[what] = sample()
        if counted is not None:
            counted(what)
    return found


def _gets(owner: Owner, path: str) -> Callable[[], list[float]]:
    return lambda: _samples(lambda: owner.rest.send("GET", path))


def _samples(action: Callable[[], object]) -> list[float]:
    found: list[float] = []
    action()
    while len(found) < SAMPLES and sum(found) < SECONDS * 1000:
        found.append(milliseconds(action))
    return found


async def _with_store(ask: Callable[[Store], Coroutine[Any, Any, list[float]]]) -> list[float]:
    store = Store("bench:growth", 2)
    await store.open()
    try:
        return await ask(store)
    finally:
        await store.close()


async def _claims(store: Store, owner: Owner) -> list[float]:
    """Claim runs that wait, one after the other; each is ended before the next."""
    found = []
    for _ in range(SAMPLES):
        run_id = await asyncio.to_thread(_queued, owner)
        started = time.perf_counter()
        claim = await store.claim(run_id)
        found.append((time.perf_counter() - started) * 1000)
        if claim is None:
            raise AssertionError(f"The run {run_id} could not be claimed")
        batch = Batch()
        batch.end(Status.COMPLETED)
        await store.commit(claim, claim.wakes, batch)
    return found


def _queued(owner: Owner) -> Any:
    return services.start_run(owner.graph.id, owner.graph.version, user_id=owner.user.pk, inputs={}, ring=False).pk


async def _sweeps(store: Store) -> list[float]:
    """Look for what is left lying, as each worker does every few seconds."""
    sweeps, found = Sweeps(store), []
    for _ in range(SAMPLES):
        started = time.perf_counter()
        await sweeps.cancel_orphans()
        await sweeps.wake_due()
        await sweeps.lapsed([], settings.ENGINE_RUNS)
        await sweeps.queued([], settings.ENGINE_RUNS, patience=settings.SWEEP_SECONDS / 2)
        found.append((time.perf_counter() - started) * 1000)
    return found


def _tidy() -> None:
    """Do at once what autovacuum does in its own time."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _scans() -> int:
    time.sleep(TELLING_SECONDS)
    with connection.cursor() as cursor:
        tables = [model._meta.db_table for model in (GraphExecution, Event)]
        cursor.execute("SELECT sum(seq_scan)::int FROM pg_stat_user_tables WHERE relname = ANY(%s)", [tables])
        return int(cursor.fetchone()[0])
