"""Pages of a run's events, with what they show of activations and outputs: read in three queries, bounded in size."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core.sql import fetch_prepared
from executions import previews
from executions.kinds import EventKind, NodeStatus
from executions.reading import rows_of

MAX_EVENTS = 100
# Outputs in one event, and in one page of several events.
MAX_OUTPUTS = 500
# Characters of JSON of all outputs in one event.
OUTPUTS_LENGTH = 256 * 1024

NODE_STATUS = {
    EventKind.NODE_STARTED: NodeStatus.RUNNING,
    EventKind.NODE_OUTPUT: NodeStatus.RUNNING,
    EventKind.NODE_WAITING: NodeStatus.WAITING,
    EventKind.NODE_REVIEW: NodeStatus.REVIEW,
    EventKind.NODE_COMPLETED: NodeStatus.COMPLETED,
    EventKind.NODE_FAILED: NodeStatus.FAILED,
    EventKind.NODE_TERMINATED: NodeStatus.TERMINATED,
}
_NODE_ENDS = frozenset({EventKind.NODE_COMPLETED, EventKind.NODE_FAILED, EventKind.NODE_TERMINATED})

_EVENTS = f"""
SELECT seq, kind, at, node_execution_id, outputs FROM executions_event
WHERE run_id = %(run)s AND seq > %(seq)s ORDER BY seq LIMIT {MAX_EVENTS}
"""  # noqa: S608  the limit is a constant

_ACTIVATIONS = f"""
SELECT id, node_id, block_id, started_at, ended_at,
    {previews.cut_object_in_sql("input_data")}, input_blobs IS NOT NULL OR NOT ({previews.short_in_sql("input_data")})
FROM executions_nodeexecution WHERE id = ANY(%(ids)s)
"""  # noqa: S608  all parts are constants

# The offset keeps the planner from reading all outputs of the run to find a few.
_OUTPUTS = f"""
SELECT wanted.id, found.ordinal, found.pin, {previews.cut_in_sql("found.value")},
    found.blob IS NOT NULL OR NOT ({previews.short_in_sql("found.value")})
FROM unnest(%(ids)s::uuid[], %(first)s::int[], %(stop)s::int[]) AS wanted(id, first, stop) CROSS JOIN LATERAL (
    SELECT ordinal, pin, value, blob FROM executions_nodeoutput
    WHERE run_id = %(run)s AND node_execution_id = wanted.id AND ordinal >= wanted.first AND ordinal < wanted.stop
    OFFSET 0
) AS found
"""  # noqa: S608  all parts are constants

_GIVEN = """
SELECT node_execution_id, max(outputs) FROM executions_event
WHERE run_id = %s AND seq <= %s AND node_execution_id IS NOT NULL GROUP BY node_execution_id
HAVING NOT bool_or(kind IN ('node.completed', 'node.failed', 'node.terminated')) AND max(outputs) > 0
"""

# Activations that have not ended and had given outputs, with how many.
Given = dict[UUID, int]


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event. One about an activation shows the outputs from number `first` up to, but not with, `outputs`."""

    seq: int
    kind: EventKind
    at: datetime
    node_execution_id: UUID
    outputs: int
    first: int = 0

    @property
    def is_end(self) -> bool:
        """Whether an activation ended by it."""
        return self.kind in _NODE_ENDS

    @property
    def ordinals(self) -> list[range]:
        """The numbers of the outputs to show: both ends when there are too many."""
        if self.outputs - self.first <= MAX_OUTPUTS:
            return [range(self.first, self.outputs)]
        half = MAX_OUTPUTS // 2
        return [range(self.first, self.first + half), range(self.outputs - half, self.outputs)]


@dataclass(frozen=True, slots=True)
class Activation:
    """What an event shows of its activation."""

    node_id: UUID
    block_id: str
    started_at: datetime
    ended_at: datetime | None
    input_data: dict[str, Any]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Output:
    """An output as it is shown; `length` is about what it takes on the wire."""

    pin: str
    value: Any
    length: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Events that follow each other, what they show, and what is given after them."""

    events: list[PastEvent]
    given: Given
    activations: Mapping[UUID, Activation]
    outputs: Mapping[tuple[UUID, int], Output]

    def outputs_of(self, event: PastEvent) -> list[Output]:
        """The outputs that the event shows: both ends when they are too long together."""
        numbers = [number for part in event.ordinals for number in part]
        keys = [(event.node_execution_id, number) for number in numbers]
        return _fitting([self.outputs[key] for key in keys if key in self.outputs])


def given_by(run_id: UUID, seq: int) -> Given:
    """How many outputs each activation that had not ended by the event `seq` had given by then, if any."""
    return dict(rows_of(_GIVEN, [run_id, seq]))


def page_after(run_id: UUID, seq: int, given: Given) -> Page:
    """The events after the one numbered `seq`, as many as may be sent together; `given` is what was given by then."""
    events, given = _events_after(run_id, seq, given)
    about_nodes = [event for event in events if event.kind in NODE_STATUS]
    return Page(events, given, _activations(about_nodes), _outputs(run_id, about_nodes))


def _events_after(run_id: UUID, seq: int, given: Given) -> tuple[list[PastEvent], Given]:
    events: list[PastEvent] = []
    given = dict(given)
    size = 0
    for number, kind, at, pk, outputs in fetch_prepared(_EVENTS, {"run": run_id, "seq": seq}):
        event = PastEvent(number, EventKind(kind), at, pk, outputs, given.get(pk, 0))
        if event.is_end and outputs <= MAX_OUTPUTS:
            # The last event of an activation shows it whole, unless that is much.
            event = PastEvent(number, event.kind, at, pk, outputs)
        size += sum(map(len, event.ordinals))
        if events and size > MAX_OUTPUTS:
            break
        events.append(event)
        if event.is_end:
            given.pop(pk, None)
        elif outputs:
            given[pk] = outputs
    return events, given


def _activations(events: Iterable[PastEvent]) -> dict[UUID, Activation]:
    wanted = list({event.node_execution_id for event in events})
    found = {}
    rows = fetch_prepared(_ACTIVATIONS, {"ids": wanted}) if wanted else []
    for pk, node_id, block_id, started_at, ended_at, text, is_cut in rows:
        whole = json.loads(text)
        shown = previews.preview_entries(whole)
        found[pk] = Activation(node_id, block_id, started_at, ended_at, shown, is_cut or shown != whole)
    return found


def _outputs(run_id: UUID, events: Iterable[PastEvent]) -> dict[tuple[UUID, int], Output]:
    wanted = {(event.node_execution_id, part) for event in events for part in event.ordinals if part}
    if not wanted:
        return {}
    ids, parts = zip(*wanted, strict=True)
    first, stop = [part.start for part in parts], [part.stop for part in parts]
    found = {}
    arguments = {"run": run_id, "ids": list(ids), "first": first, "stop": stop}
    for pk, ordinal, pin, text, is_cut in fetch_prepared(_OUTPUTS, arguments):
        whole = json.loads(text)
        shown = previews.preview(whole)
        length = min(len(text), previews.VALUE_LENGTH)
        found[pk, ordinal] = Output(pin, shown, length, is_cut or shown is not whole)
    return found


def _fitting(outputs: list[Output]) -> list[Output]:
    if sum(output.length for output in outputs) <= OUTPUTS_LENGTH:
        return outputs
    room = OUTPUTS_LENGTH // 2
    front = _first_fitting(outputs, room)
    back = _first_fitting(outputs[len(front) :][::-1], room)
    return [*front, *back[::-1]]


def _first_fitting(outputs: Sequence[Output], room: int) -> list[Output]:
    for count, output in enumerate(outputs):
        room -= output.length
        if room < 0:
            return list(outputs[:count])
    return list(outputs)
