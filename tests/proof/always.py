"""What must hold at every moment, whoever is in the middle of what; tests/invariants is about moments of rest."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from executions.kinds import FINAL, Status
from executions.models import GraphExecution, NodeExecution
from graphs.blocks.base import Effect
from graphs.blocks.registry import BLOCKS

_EVENTS = """
SELECT run_id, count(*), min(seq), max(seq) FROM executions_event GROUP BY run_id
"""

_RESULTS = """
SELECT e.id, e.status, e.output_count, e.ended_at,
    (SELECT md5(string_agg(o.ordinal || o.pin || o.value, ',' ORDER BY o.ordinal)) FROM executions_nodeoutput o
     WHERE o.run_id = e.run_id AND o.node_execution_id = e.id)
FROM executions_nodeexecution e WHERE e.ended_at IS NOT NULL
"""


class Watch:
    """Looks at all rows again and again, and remembers what may not change any more."""

    def __init__(self, log: Path) -> None:
        self._log = log
        # Their rows as they were at the last look.
        self.runs: dict[UUID, dict[str, Any]] = {}
        self._results: dict[UUID, tuple[Any, ...]] = {}
        self._writers: dict[tuple[UUID, int], str] = {}
        self._fences: dict[UUID, int] = {}
        self._broken: list[str] = []

    def leased(self) -> list[UUID]:
        """The runs whose leases held at the last look."""
        return sorted(run_id for run_id, run in self.runs.items() if _is_leased(run))

    def wrote(self, run_id: UUID, fence: int, owner: str) -> None:
        """A claim or a commit went through."""
        if self._writers.setdefault((run_id, fence), owner) != owner:
            self._broken.append(f"{run_id}: two owners wrote under fence {fence}")
        if fence < self._fences.get(run_id, 0):
            self._broken.append(f"{run_id}: written under fence {fence} after {self._fences[run_id]}")
        self._fences[run_id] = fence

    def calls(self) -> Counter[str]:
        """How often each effect happened, by its key."""
        return Counter(line.split()[0] for line in self._log.read_text().splitlines())

    def problems(self) -> list[str]:
        """Every promise broken since the last look; between two looks one thing happened."""
        found = [*self._broken, *self._of_runs(), *self._of_results(), *self._of_effects()]
        self._broken.clear()
        return found

    def _of_runs(self) -> Iterator[str]:
        """I2, I3 and I7: ends are final, fences and numbers only grow, and no number is left out."""
        events = {run_id: rest for run_id, *rest in _rows(_EVENTS)}
        runs: list[dict[str, Any]] = [dict(row) for row in GraphExecution.objects.values()]
        for run in runs:
            before = self.runs.get(run["id"])
            self.runs[run["id"]] = run
            if events.get(run["id"]) != [run["head_seq"], 1, run["head_seq"]]:
                yield f"{run['id']}: events {events.get(run['id'])} (count, first, last), head {run['head_seq']}"
            if before is None:
                continue
            if before["status"] in FINAL and before != run:
                changed = [key for key in run if run[key] != before[key]]
                yield f"{run['id']}: has ended and changed: {changed}"
            if run["fence"] < before["fence"] or run["head_seq"] < before["head_seq"]:
                yield f"{run['id']}: its fence or head went back"
            if run["lease_owner"] != before["lease_owner"] and _is_leased(before):
                yield f"{run['id']}: {run['lease_owner']} took it from {before['lease_owner']} under its lease"

    def _of_results(self) -> Iterator[str]:
        """I4: what an activation gave and how it ended stays as it is."""
        for activation, *rest in _rows(_RESULTS):
            if self._results.setdefault(activation, tuple(rest)) != tuple(rest):
                yield f"{activation}: had ended as {self._results[activation]}, is {rest}"

    def _of_effects(self) -> Iterator[str]:
        """I9: no effect without an intent, no more of them than attempts, and only one if it must not be repeated."""
        rows = NodeExecution.objects.values_list("run", "node_id", "ordinal", "block_id", "attempt")
        allowed = {
            f"{run}:{node}:{ordinal}": 1 if BLOCKS.get(block_id).effect is Effect.UNSAFE else attempt
            for run, node, ordinal, block_id, attempt in rows
        }
        for key, calls in self.calls().items():
            if calls > allowed.get(key, 0):
                yield f"{key}: {calls} calls, allowed were {allowed.get(key, 0)}"


def _is_leased(run: dict[str, Any]) -> bool:
    return bool(run["status"] == Status.RUNNING and run["lease_until"] > timezone.now())


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
