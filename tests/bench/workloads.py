"""The workloads, the same for every contender, and how they are timed.

chain(n): n nodes in a line, each adds 1. fan(n): one node that adds 1, n nodes that add 1 to that, and a node that
collects them. A contender returns when the result is stored and it has been told so.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.bench.figures import percentile

BURST = 200
SINGLES = 50


class Contender(Protocol):
    """Something that can run the workloads, those in `leaves_out` excepted."""

    name: str
    leaves_out: frozenset[str]

    def start(self) -> None:
        """Start what it needs."""

    def stop(self) -> None:
        """Stop it."""

    def chain(self, nodes: int) -> None:
        """Run one chain to its end."""

    def fan(self, width: int) -> None:
        """Run one fan to its end."""

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted before the first is waited for."""


def _only(samples: Sequence[float]) -> float:
    return samples[0]


@dataclass(frozen=True)
class Workload:
    """`once` gives the samples of one round in `unit`; `figures` makes of them what is shown, by name."""

    code: str
    name: str
    unit: str
    once: Callable[[Contender], list[float]]
    figures: Mapping[str, Callable[[Sequence[float]], float]] = field(default_factory=lambda: {"": _only})


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def milliseconds(action: Callable[[], object]) -> float:
    """The same, in thousandths."""
    return seconds(action) * 1000


def _chain(nodes: int) -> Callable[[Contender], list[float]]:
    return lambda contender: [milliseconds(lambda: contender.chain(nodes))]


def _fan(width: int) -> Callable[[Contender], list[float]]:
    return lambda contender: [milliseconds(lambda: contender.fan(width))]


WORKLOADS = [
    Workload("W1", "chain of 40", "ms", _chain(40)),
    Workload("W2", "1 → 100 → join", "ms", _fan(100)),
    Workload("W3", f"{BURST} runs of 5 nodes", "runs/s", lambda it: [BURST / seconds(lambda: it.burst(BURST, 5))]),
    Workload(
        "W4",
        "one-node runs in turn",
        "ms",
        lambda it: [milliseconds(lambda: it.chain(1)) for _ in range(SINGLES)],
        {"p50": statistics.median, "p95": lambda samples: percentile(samples, 0.95)},
    ),
    Workload("W5a", "chain of 1000", "ms", _chain(1000)),
    Workload("W5b", "1 → 2000 → join", "ms", _fan(2000)),
]
