"""The workloads, the same for every contender, and how they are timed.

chain(n): n nodes in a line, each adds 1. fan(n): one node that adds 1, n nodes that add 1 to that, and a node that
collects them. A contender returns from `run` when the result is stored and it has been told so.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

BURST = 200
SINGLES = 30


class Contender(Protocol):
    """Something that can run the workloads."""

    name: str
    is_slow: bool

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


@dataclass(frozen=True)
class Workload:
    """One line of the table. `once` returns its figure in `unit`; a long one is not put to a slow contender."""

    name: str
    unit: str
    once: Callable[[Contender], float]
    is_long: bool = False


def seconds(action: Callable[[], None]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _one_node(contender: Contender) -> float:
    return statistics.median(seconds(lambda: contender.chain(1)) for _ in range(SINGLES)) * 1000


WORKLOADS = [
    Workload("chain of 40", "ms", lambda contender: seconds(lambda: contender.chain(40)) * 1000),
    Workload("1 → 100 → join", "ms", lambda contender: seconds(lambda: contender.fan(100)) * 1000),
    Workload("chain of 1000", "ms", lambda contender: seconds(lambda: contender.chain(1000)) * 1000, is_long=True),
    Workload("1 → 2000 → join", "ms", lambda contender: seconds(lambda: contender.fan(2000)) * 1000, is_long=True),
    Workload("200 runs of 5 nodes", "runs/s", lambda contender: BURST / seconds(lambda: contender.burst(BURST, 5))),
    Workload("one node, p50", "ms", _one_node),
]
