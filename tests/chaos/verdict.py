"""Counting what is wrong once everything is at rest. Each complaint is a sentence that names the run."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import Count, Max

from executions.kinds import Status
from executions.models import Event, GraphExecution, NodeExecution
from tests.chaos.faults import Fault
from tests.chaos.shapes import SHAPES, UNKNOWN
from tests.drawing import block_id
from tests.invariants import violations

_UNSAFE = block_id("ProbeUnsafe")
_APART = block_id("ProbeCountApart")


@dataclass
class Verdict:
    """The figures of a round, and everything that is wrong.

    `recoveries` are seconds from a fault to the next event of each run that it hit, longer if the run was busy with
    something slow or was hit again.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    activations: int = 0
    effects: int = 0
    unknown_outcomes: int = 0
    taken_over: int = 0
    recoveries: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.duplicated, *self.gaps, *self.violations, *self.troubles]


class Rows:
    """What the rows and the effects' logs say about the runs of a round, read once."""

    def __init__(self, keys: Mapping[str, str], effects: Path) -> None:
        started = GraphExecution.objects.filter(trigger_key__in=keys)
        self.started = {str(run.trigger_key): run for run in started}
        roots = [run.pk for run in self.started.values()]
        family = [*self.started.values(), *GraphExecution.objects.filter(root_id__in=roots)]
        self.runs = {run.pk: run for run in family}
        self.nodes = {
            (node.run_id, node.node_id, node.ordinal): node
            for node in NodeExecution.objects.filter(run__in=self.runs).order_by("ordinal")
        }
        self.outputs: dict[UUID, list[Any]] = defaultdict(list)
        for node in self.nodes.values():
            if "escape_html" in node.input_data:
                self.outputs[node.run_id].append(node.input_data["value"])
        # Each line is a key, the attempt it was used in, and of a block that runs apart the process.
        self.calls = Counter(
            (*_key(key), int(attempt), " ".join(process))
            for log in sorted(effects.glob("*.effects"))
            for key, attempt, *process in map(str.split, log.read_text().splitlines())
        )

    def root_of(self, run_id: UUID) -> UUID:
        """The run that was started from outside."""
        return self.runs[run_id].root_id or run_id


def judge(seed: int, keys: Mapping[str, str], calm: Sequence[str], faults: Sequence[Fault], effects: Path) -> Verdict:
    """Count a round. The runs with the keys in `calm` were undisturbed, and show how many activations there must be."""
    rows = Rows(keys, effects)
    expected = {keys[key]: rows.started[key].node_count for key in calm}
    return Verdict(
        seed=seed,
        faults=Counter(fault.kind for fault in faults),
        runs=len(rows.runs),
        activations=len(rows.nodes),
        effects=len({call[:3] for call in rows.calls}),
        unknown_outcomes=sum(rows.outputs[run.pk] == [UNKNOWN] for run in rows.started.values()),
        taken_over=sum(_was_taken_over(node) for node in rows.nodes.values()),
        recoveries=sorted(_recoveries(faults, rows)),
        lost=[
            complaint
            for key, shape in keys.items()
            for complaint in _lost(key, shape, rows.started.get(key), rows, expected[shape])
        ],
        duplicated=[*_repeated(rows), *_too_often(keys, faults, rows)],
        gaps=list(_gaps(rows)),
        violations=violations([run.pk for run in rows.started.values()]),
    )


def _was_taken_over(node: NodeExecution) -> bool:
    """Whether it was run again because a worker was lost, not because its policy said so."""
    return node.attempt > 1 + sum("retry" in wait for wait in node.waits)


def _lost(key: str, shape: str, run: GraphExecution | None, rows: Rows, activations: int) -> Iterator[str]:
    """Runs that are not there, have not ended, or gave something else than they must."""
    if run is None:
        yield f"{key}, a {shape}, was answered and is not there"
    elif run.status != Status.COMPLETED:
        yield f"{run.pk}, a {shape}, is {run.status}: {run.error_code} {run.error}"
    elif rows.outputs[run.pk] not in SHAPES[shape].outputs:
        yield f"{run.pk}, a {shape}, gave {rows.outputs[run.pk]}"
    elif run.node_count != activations:
        yield f"{run.pk}, a {shape}, has {run.node_count} activations, an undisturbed one {activations}"


def _repeated(rows: Rows) -> Iterator[str]:
    """Effects that happened twice in one attempt, or in an attempt that the rows know nothing of.

    A block that runs apart is begun anew within its attempt when its host is lost: there it is twice in one process.
    """
    for (run_id, node_id, ordinal, attempt, _), times in rows.calls.items():
        node = rows.nodes.get((run_id, node_id, ordinal))
        if times > 1:
            yield f"{run_id}: {node} had its effect {times} times in attempt {attempt}"
        if node is None or attempt > node.attempt:
            yield f"{run_id}: {node_id}#{ordinal} had its effect in attempt {attempt}, which no row knows"


def _too_often(keys: Mapping[str, str], faults: Sequence[Fault], rows: Rows) -> Iterator[str]:
    """Effects that happened more often than the run had owners, unsafe ones twice, and runs with too many or too few.

    The host of a block that runs apart need not be the run's owner: each fault while the run was under way may have
    cost it one.
    """
    shapes = {run.pk: keys[key] for key, run in rows.started.items()}
    times: Counter[tuple[UUID, UUID, int]] = Counter()
    for (run_id, node_id, ordinal, _, _), count in rows.calls.items():
        if (run_id, node_id, ordinal) in rows.nodes:
            times[run_id, node_id, ordinal] += count
    for (run_id, node_id, ordinal), count in times.items():
        node, shape = rows.nodes[run_id, node_id, ordinal], SHAPES[shapes[rows.root_of(run_id)]]
        most = 1 if node.block_id == _UNSAFE else rows.runs[run_id].fence + shape.retries
        if node.block_id == _APART:
            most += sum(_is_during(fault, rows.runs[run_id]) for fault in faults)
        if count > most:
            yield f"{run_id}: {node} had its effect {count} times, at most {most} are right"
    distinct = Counter(rows.root_of(run_id) for run_id, _, _ in times)
    for run_id, shape_name in shapes.items():
        most = SHAPES[shape_name].effects
        fewest = most - (rows.outputs[run_id] == [UNKNOWN])
        if rows.runs[run_id].status == Status.COMPLETED and not fewest <= distinct[run_id] <= most:
            yield f"{run_id}, a {shape_name}, had {distinct[run_id]} different effects, not {most}"


def _is_during(fault: Fault, run: GraphExecution) -> bool:
    return run.queued_at <= fault.at and (run.ended_at is None or fault.at <= run.ended_at)


def _gaps(rows: Rows) -> Iterator[str]:
    """Runs whose events are not numbered from 1 to the head."""
    told = Event.objects.filter(run__in=rows.runs).values("run").annotate(count=Count("seq"), last=Max("seq"))
    of_run = {row["run"]: (row["count"], row["last"]) for row in told}
    for run in rows.runs.values():
        count, last = of_run.get(run.pk, (0, 0))
        if not count == last == run.head_seq:
            yield f"{run.pk} has {count} events, the last is {last}, its head {run.head_seq}"


def _recoveries(faults: Sequence[Fault], rows: Rows) -> Iterator[float]:
    times: dict[UUID, list[datetime]] = defaultdict(list)
    hit = {run_id for fault in faults for run_id in fault.hit}
    for run_id, at in Event.objects.filter(run__in=hit).order_by("seq").values_list("run", "at"):
        times[run_id].append(at)
    for fault in faults:
        for run_id in fault.hit:
            later = [at for at in times[run_id] if at > fault.at]
            if later:
                yield (later[0] - fault.at).total_seconds()


def _key(text: str) -> tuple[UUID, UUID, int]:
    run_id, node_id, ordinal = text.split(":")
    return UUID(run_id), UUID(node_id), int(ordinal)
