"""How fast runs are: the same workloads for Taskloom, the floor, the canvas and bare commits, in interleaved rounds."""

import statistics
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.canvas import Canvas
from tests.bench.figures import Check, Line, Section
from tests.bench.floor import Commits, Floor
from tests.bench.installation import running
from tests.bench.ours import Taskloom, TaskloomInOneCall
from tests.bench.over_http import OverHttp, OverHttpInOneCall
from tests.bench.workloads import WORKLOADS, Contender, Workload

WARM_UPS = 3
# So often a contender may fail to come to the end of a workload before it is let off.
PATIENCE = 3

Series = dict[tuple[str, str, str], list[float]]


@dataclass(frozen=True)
class Target:
    """How a figure may stand to the floor's; one that `may_ask` may take a request's time on top."""

    limit: float
    at_least: bool = False
    may_ask: bool = False


# By workload, figure and contender.
_BESIDE_FLOOR = {
    ("W1", "", Taskloom.name): Target(1.7),
    ("W1", "", OverHttp.name): Target(1.7, may_ask=True),
    ("W2", "", Taskloom.name): Target(2.2),
    ("W2", "", OverHttp.name): Target(2.2, may_ask=True),
    ("W3", "", Taskloom.name): Target(1.0, at_least=True),
    ("W3", "", OverHttp.name): Target(0.8, at_least=True),
    ("W3", "", TaskloomInOneCall.name): Target(1.8, at_least=True),
    ("W3", "", OverHttpInOneCall.name): Target(1.8, at_least=True),
    ("W4", "p50", Taskloom.name): Target(1.05),
    ("W4", "p50", OverHttp.name): Target(1.4),
    ("W5a", "", Taskloom.name): Target(2.1),
    ("W5b", "", Taskloom.name): Target(5.0),
}
_BESIDE_CANVAS = {"W1": 5.0, "W2": 25.0}


def measure(rounds: int, codes: Collection[str]) -> Section:
    """Run the chosen workloads on every contender."""
    with running() as installation:
        over_http = OverHttp(installation)
        contenders: list[Contender] = [
            *(Taskloom(), TaskloomInOneCall(), over_http, OverHttpInOneCall(installation)),
            *(Floor(), Canvas(), Commits()),
        ]
        bench = _Bench(contenders, rounds)
        with _started(contenders):
            chosen = [workload for workload in WORKLOADS if workload.code in codes]
            for workload in chosen:
                bench.measure(workload)
                sys.stderr.write(f"measured: {workload.code}\n")
    request = statistics.median(over_http.requests) * 1000
    section = Section(f"Runs: {rounds} interleaved rounds")
    for workload in chosen:
        section.lines += bench.lines(workload, request)
    section.lines.append(Line("one request", "over HTTP", "ms", [request]))
    section.notes += bench.remarks
    return section


class _Bench:
    """What the contenders needed, and what went wrong."""

    def __init__(self, contenders: Sequence[Contender], rounds: int) -> None:
        self._contenders = contenders
        self._rounds = rounds
        self._series: Series = {}
        self._unfinished: Counter[tuple[str, str]] = Counter()

    @property
    def remarks(self) -> list[str]:
        """What did not come to its end."""
        return [f"{code}, {name}: never came to its end, {times} ×" for (code, name), times in self._unfinished.items()]

    def measure(self, workload: Workload) -> None:
        """Warm up, so that every process has seen the workload, then measure in turn."""
        able = [contender for contender in self._contenders if workload.code not in contender.leaves_out]
        for contender in able * WARM_UPS:
            self._once(workload, contender)
        for _ in range(self._rounds):
            for contender in able:
                samples = self._once(workload, contender)
                for name, figure in workload.figures.items() if samples else ():
                    self._series.setdefault((workload.code, name, contender.name), []).append(figure(samples))

    def lines(self, workload: Workload, request: float) -> Iterator[Line]:
        """The workload's part of the table; `request` is how many ms a request takes."""
        for name in workload.figures:
            what = " ".join((workload.code, workload.name, name)).strip()
            for contender in self._contenders:
                if workload.code in contender.leaves_out:
                    continue
                values = self._series.get((workload.code, name, contender.name), [])
                checks = [*self._checks(workload.code, name, contender.name, request)] if values else []
                yield Line(what, contender.name, workload.unit, values, checks)

    def _once(self, workload: Workload, contender: Contender) -> list[float]:
        """The samples of one round, or none when the contender did not come to its end."""
        key = (workload.code, contender.name)
        if self._unfinished.get(key, 0) >= PATIENCE:
            return []
        try:
            return workload.once(contender)
        except TimeoutError:
            self._unfinished[key] += 1
        return []

    def _checks(self, code: str, name: str, contender: str, request: float) -> Iterator[Check]:
        ours = self._median(code, name, contender)
        target = _BESIDE_FLOOR.get((code, name, contender))
        if target is not None and (code, name, Floor.name) in self._series:
            floor = self._median(code, name, Floor.name)
            if target.may_ask:
                yield Check((ours - request) / floor, "× floor + a request", target.limit)
            else:
                yield Check(ours / floor, "× floor", target.limit, at_least=target.at_least)
        if contender == Taskloom.name and code in _BESIDE_CANVAS and (code, name, Canvas.name) in self._series:
            times = self._median(code, name, Canvas.name) / ours
            yield Check(times, "× faster than canvas", _BESIDE_CANVAS[code], at_least=True)
        if name == "p95" and contender in (Taskloom.name, OverHttp.name):
            yield Check(ours / self._median(code, "p50", contender), "× p50", 2.0)
        if (code, contender) == ("W5a", Taskloom.name):
            yield from self._per_node()

    def _per_node(self) -> Iterator[Check]:
        """The time of a node in the long chain beside that in the short one."""
        if ("W1", "", Taskloom.name) in self._series:
            long, short = (self._median(code, "", Taskloom.name) / size for code, size in (("W5a", 1000), ("W1", 40)))
            yield Check(long / short, "× per node at 40", 1.3)

    def _median(self, code: str, name: str, contender: str) -> float:
        return statistics.median(self._series[code, name, contender])


@contextmanager
def _started(contenders: Sequence[Contender]) -> Iterator[None]:
    started: list[Contender] = []
    try:
        for contender in contenders:
            contender.start()
            started.append(contender)
        yield
    finally:
        for contender in started:
            contender.stop()
