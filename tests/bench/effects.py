"""Nodes that do more than compute: what recording intents and results costs, and whether they wait side by side."""

import statistics
from collections.abc import Callable, Collection, Iterator

from django.db import connection

from tests.bench.figures import Check, Line, Section
from tests.bench.floor import Commits
from tests.bench.installation import running
from tests.bench.ours import Taskloom
from tests.bench.workloads import milliseconds

NODES = 40
WIDTH = 100
SECONDS = 0.2
WARM_UPS = 3


def measure(rounds: int, codes: Collection[str]) -> Section:
    """Run those of the chain of effects and the waiting nodes that were chosen."""
    section = Section(f"Nodes with effects: {rounds} interleaved rounds, in process")
    with running(web=False):
        taskloom = Taskloom()
        taskloom.start()
        try:
            if "effects" in codes:
                section.lines += _chain(taskloom, rounds)
            if "io" in codes:
                section.lines += _side_by_side(taskloom, rounds)
        finally:
            taskloom.stop()
    return section


def _chain(taskloom: Taskloom, rounds: int) -> Iterator[Line]:
    """A chain of keyed blocks that do nothing, beside as many bare commits as there are intents and results."""
    graph, bare = taskloom.graphs.keyed(NODES), Commits()
    bare.start()
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
    times, floors, commits = [], [], []
    for place in range(WARM_UPS + rounds):
        floor = milliseconds(lambda: bare.chain(2 * NODES))
        time, count = _timed_and_counted(lambda: taskloom.run(graph))
        if place >= WARM_UPS:
            times.append(time)
            floors.append(floor)
            commits.append(count / NODES)
    what = f"chain of {NODES} keyed nodes"
    ratio = statistics.median(times) / statistics.median(floors)
    yield Line(what, "in process", "ms", times, [Check(ratio, f"× {2 * NODES} commits", 1.3)])
    yield Line(what, f"{2 * NODES} bare commits", "ms", floors)
    per_node = Check(statistics.median(commits), "commits a node", 2)
    yield Line(what, "all commits of the run", "a node", commits, [per_node])


def _timed_and_counted(action: Callable[[], object]) -> tuple[float, int]:
    """How many milliseconds it takes, and how many commits the write-ahead log has of that time."""
    before = _flushed_until()
    time = milliseconds(action)
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT COALESCE(sum(count), 0)::int FROM pg_get_wal_stats(%s::pg_lsn, %s::pg_lsn, true)
               WHERE "resource_manager/record_type" LIKE 'Transaction/COMMIT%%'""",
            [before, _flushed_until()],
        )
        return time, int(cursor.fetchone()[0])


def _flushed_until() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_flush_lsn()::text")
        return str(cursor.fetchone()[0])


def _side_by_side(taskloom: Taskloom, rounds: int) -> Iterator[Line]:
    """Nodes that all wait for something outside; one after the other they would take their sum."""
    graph = taskloom.graphs.waiting(WIDTH, SECONDS)
    times = [milliseconds(lambda: taskloom.run(graph)) for _ in range(WARM_UPS + rounds)][WARM_UPS:]
    limit = Check(statistics.median(times), "ms", 500)
    yield Line(f"{WIDTH} nodes that wait {SECONDS * 1000:.0f} ms", "in process", "ms", times, [limit])
