"""What a worker keeps: its memory after thousands of runs, and while a run steps through items or hands on a stream.

Memory is the proportional set size of the worker's process, from /proc: pages shared with others count in part.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from executions import services
from tests.bench.figures import Check, Line, Section
from tests.bench.installation import running
from tests.bench.ours import Taskloom
from tests.drawing import Drawn

WARM_UP = 500
RUNS = 5000
BURST = 100
ITEMS = 10_000
VALUES = 1_000_000
SLOW = 0.005
MB = 1024 * 1024
# Flat: what is kept of a run would be less than a kilobyte.
FLAT = 5
FAN_OUT = 50
_STREAM_SECONDS = 1800.0


def measure() -> Section:
    """Drive many small runs with one fresh worker, and one large run with another."""
    section = Section("Memory of a worker")
    with running(workers=1, web=False) as installation:
        with _Client() as taskloom:
            (worker,) = installation.workers
            graph = taskloom.graphs.chain(5)
            _many(taskloom, WARM_UP)
            before = _proportional(worker)
            _many(taskloom, RUNS // 2)
            half_way = _proportional(worker)
            _many(taskloom, RUNS // 2)
            after = _proportional(worker)
        what, grown = f"{RUNS:,} runs of {len(graph.nodes)} nodes", (after - before) / MB
        section.lines.append(Line(what, f"after {WARM_UP} to warm up", "MB", [before / MB]))
        section.lines.append(Line(what, "growth", "MB", [grown], [Check(grown, "MB", FLAT)]))
        section.lines.append(Line(what, f"of it in the last {RUNS // 2:,}", "MB", [(after - half_way) / MB]))
    with running(workers=1, web=False) as installation:
        with _Client() as taskloom:
            (worker,) = installation.workers
            taskloom.run(taskloom.graphs.items(100))
            before = _proportional(worker)
            graph = taskloom.graphs.items(ITEMS)
            peak = _peak(worker, lambda: taskloom.run(graph)) - before
            kept = _proportional(worker) - before
        what = f"fan-out of {ITEMS:,} items"
        section.lines.append(Line(what, "before", "MB", [before / MB]))
        section.lines.append(Line(what, "most, growth", "MB", [peak / MB], [Check(peak / MB, "MB", FAN_OUT)]))
        section.lines.append(Line(what, "afterwards, growth", "MB", [kept / MB]))
    return section


def measure_stream() -> Section:
    """Have one fresh worker hand many values from a node that is quick to one that is slow.

    Then another, from a node whose block runs in a process of its own.
    """
    section = Section("Memory of a worker, and back-pressure")
    for apart, values in ((False, VALUES), (True, VALUES // 10)):
        with running(workers=1, web=False) as installation, _Client() as taskloom:
            (worker,) = installation.workers
            taskloom.run(taskloom.graphs.stream(1000, SLOW, apart=apart))
            graph = taskloom.graphs.stream(values, SLOW, apart=apart)
            before = _proportional(worker)
            peak = _peak(worker, lambda: _step_through(taskloom, graph)) - before  # noqa: B023  it is called at once
        where = ", from a process of its own" if apart else ""
        what = f"a stream of {values:,} values into a node that takes {SLOW * 1000:g} ms for each{where}"
        section.lines.append(Line(what, "before", "MB", [before / MB]))
        section.lines.append(Line(what, "most, growth", "MB", [peak / MB], [Check(peak / MB, "MB", FLAT)]))
    return section


class _Client(Taskloom):
    def __enter__(self) -> "_Client":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _many(taskloom: Taskloom, runs: int) -> None:
    for _ in range(runs // BURST):
        taskloom.burst(BURST, 5)


def _step_through(taskloom: Taskloom, graph: Drawn) -> None:
    """Run a graph of more activations than a run may have by default."""
    run = services.start_run(
        graph.id, graph.version, user_id=taskloom.graphs.user.pk, inputs={}, node_budget=2 * VALUES
    )
    taskloom.wait([run.pk], _STREAM_SECONDS)


def _proportional(process: int) -> int:
    """The process's share of memory in bytes."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc tells nothing about the memory of {process}")


def _peak(process: int, action: Callable[[], object]) -> int:
    """The most that the process had while the action took place."""
    seen = [_proportional(process)]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            seen.append(_proportional(process))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        action()
    finally:
        is_over.set()
        looking.join()
    return max(seen)
