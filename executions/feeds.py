"""What a watcher is sent, read from rows page by page: nothing is queued, so a slow watcher costs no memory.

A feed knows how far its watcher has come. Each call reads what is new since and moves on; docs/sockets.md describes
the messages. A feed is used by one thread at a time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from accounts.models import User
from core.errors import Invalid
from executions import previews
from executions.errors import NoSuchRun
from executions.kinds import FINAL, EventKind, NodeStatus, Status
from executions.models import GraphExecution
from executions.reading import (
    NO_STATS,
    Wire,
    listed_run,
    node_result,
    rows_of,
    run_with_outputs,
    time_text,
    with_previews,
)

RUN_EVENT = "graph_execution_update"
NODE_EVENT = "node_execution_update"

MAX_EVENTS = 100
# Outputs in one event, and in one page of several events.
MAX_OUTPUTS = 500
# Characters of JSON of all outputs in one event.
OUTPUTS_LENGTH = 256 * 1024

RUN_STATUS = {
    EventKind.RUN_QUEUED: Status.QUEUED,
    EventKind.RUN_STARTED: Status.RUNNING,
    EventKind.RUN_COMPLETED: Status.COMPLETED,
    EventKind.RUN_FAILED: Status.FAILED,
    EventKind.RUN_TERMINATED: Status.TERMINATED,
}
NODE_STATUS = {
    EventKind.NODE_STARTED: NodeStatus.RUNNING,
    EventKind.NODE_OUTPUT: NodeStatus.RUNNING,
    EventKind.NODE_WAITING: NodeStatus.WAITING,
    EventKind.NODE_COMPLETED: NodeStatus.COMPLETED,
    EventKind.NODE_FAILED: NodeStatus.FAILED,
    EventKind.NODE_TERMINATED: NodeStatus.TERMINATED,
}
_NODE_ENDS = frozenset({EventKind.NODE_COMPLETED, EventKind.NODE_FAILED, EventKind.NODE_TERMINATED})

_EVENTS = f"""
WITH page AS (
    SELECT seq, kind, at, outputs, node_execution_id FROM executions_event
    WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT {MAX_EVENTS}
)
SELECT page.seq, page.kind, page.at, page.outputs, n.id, n.node_id, n.block_id, n.started_at, n.ended_at,
    {previews.cut_object_in_sql("n.input_data")}, NOT ({previews.short_in_sql("n.input_data")})
FROM page LEFT JOIN executions_nodeexecution n ON n.id = page.node_execution_id ORDER BY page.seq
"""  # noqa: S608  all parts are constants

_OUTPUTS = f"""
SELECT o.node_execution_id, o.ordinal, o.pin, {previews.cut_in_sql("o.value")}, NOT ({previews.short_in_sql("o.value")})
FROM executions_nodeoutput o
JOIN unnest(%s::uuid[], %s::int[], %s::int[]) AS wanted(id, first, stop)
    ON o.node_execution_id = wanted.id AND o.ordinal >= wanted.first AND o.ordinal < wanted.stop
WHERE o.run_id = %s
"""  # noqa: S608  all parts are constants

# How many outputs each activation that had not ended by then had given.
_GIVEN = """
SELECT node_execution_id, max(outputs) FROM executions_event
WHERE run_id = %s AND seq <= %s AND node_execution_id IS NOT NULL GROUP BY node_execution_id
HAVING NOT bool_or(kind IN ('node.completed', 'node.failed', 'node.terminated'))
"""


@dataclass(frozen=True, slots=True)
class _Row:
    """An event with the activation it is about; the fields of that are None for an event of the run itself."""

    seq: int
    kind: EventKind
    at: datetime
    outputs: int
    node_execution_id: UUID
    node_id: UUID
    block_id: str
    started_at: datetime
    ended_at: datetime
    input_text: str
    input_is_cut: bool


@dataclass(frozen=True, slots=True)
class _Output:
    """An output as it is shown; `length` is about what it takes on the wire."""

    pin: str
    value: Any
    length: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class _Event:
    """An event to send: `first` is the number of the first output that it shows."""

    row: _Row
    first: int = 0

    @property
    def ordinals(self) -> list[range]:
        """The outputs to show: all from `first` on, or both ends of them when there are too many."""
        stop = self.row.outputs
        if stop - self.first <= MAX_OUTPUTS:
            return [range(self.first, stop)]
        half = MAX_OUTPUTS // 2
        return [range(self.first, self.first + half), range(stop - half, stop)]


_Outputs = Mapping[tuple[UUID, int], _Output]


class RunFeed:
    """The events of one run, numbered without gaps from `after_seq` + 1, or from now on after a snapshot.

    `seq` is the number of the last event read; `is_over` tells that none can follow.
    """

    def __init__(self, user: User, run_id: UUID, after_seq: int | None = None) -> None:
        self.run_id = run_id
        self.seq = after_seq or 0
        self.is_over = False
        self._user = user
        self._begins_now = after_seq is None
        self._given: dict[UUID, int] = {}

    def open(self) -> list[Wire]:
        """Begin; a feed without `after_seq` begins with the run as it is now.

        Raises `NoSuchRun` when the user has no such run, `Invalid` when `after_seq` is beyond the newest event.
        """
        run = self._run(is_shown=self._begins_now)
        if run is None:
            raise NoSuchRun(run_id=str(self.run_id))
        if self._begins_now:
            self.seq = run.head_seq
            self.is_over = run.status in FINAL
            return [run_event(run, snapshot=True)]
        if self.seq > run.head_seq:
            raise Invalid(f"after_seq {self.seq} is beyond the run's newest event, {run.head_seq}")
        if self.seq:
            self._given = dict(rows_of(_GIVEN, [self.run_id, self.seq]))
        return []

    def next_page(self) -> list[Wire]:
        """The events that follow, in order; empty when there are none yet. A run that was deleted has no more."""
        if self.is_over:
            return []
        events, given = self._next_events()
        if not events:
            return []
        run = self._run(is_shown=any(event.row.kind in RUN_STATUS for event in events))
        if run is None:
            self.is_over = True
            return []
        outputs = _outputs(self.run_id, events)
        messages = [
            _node_event(run, event, outputs) if event.row.kind in NODE_STATUS else _past_run_event(run, event.row)
            for event in events
        ]
        last = events[-1].row
        self.seq, self._given = last.seq, given
        self.is_over = RUN_STATUS.get(last.kind) in FINAL
        return messages

    def _run(self, *, is_shown: bool) -> GraphExecution | None:
        """The run, with its values if it is itself to be shown; None when it was deleted."""
        runs = GraphExecution.objects.visible_to(self._user).filter(pk=self.run_id)
        return (
            with_previews(runs) if is_shown else runs.only("user_id", "graph_id", "graph_version", "head_seq")
        ).first()

    def _next_events(self) -> tuple[list[_Event], dict[UUID, int]]:
        """As many events as may be sent together, and how many outputs of open activations are given after them."""
        events: list[_Event] = []
        given = dict(self._given)
        size = 0
        for seq, kind, *rest in rows_of(_EVENTS, [self.run_id, self.seq]):
            row = _Row(seq, EventKind(kind), *rest)
            event = _Event(row, _first_shown(row, given))
            size += sum(map(len, event.ordinals))
            if events and size > MAX_OUTPUTS:
                break
            events.append(event)
            if row.kind in _NODE_ENDS:
                given.pop(row.node_execution_id, None)
            elif row.kind in NODE_STATUS:
                given[row.node_execution_id] = row.outputs
        return events, given


def _first_shown(row: _Row, given: Mapping[UUID, int]) -> int:
    """The last event of an activation shows all its outputs unless they are many; the others what is new."""
    if row.kind in _NODE_ENDS and row.outputs <= MAX_OUTPUTS:
        return 0
    return given.get(row.node_execution_id, 0)


def run_event(run: GraphExecution, *, snapshot: bool = False) -> Wire:
    """A run, read `with_previews`, as it is now."""
    event = {**run_with_outputs(run), "event_type": RUN_EVENT, "at": time_text(datetime.now(UTC))}
    return {**event, "snapshot": True} if snapshot else event


def _past_run_event(run: GraphExecution, row: _Row) -> Wire:
    """The run as it was at an event of its own."""
    status = RUN_STATUS[row.kind]
    if status.is_final:
        past = run_with_outputs(run)
    else:
        past = {
            **listed_run(run),
            "status": status.wire,
            "started_at": None if status is Status.QUEUED else time_text(run.started_at),
            "ended_at": None,
            "stats": NO_STATS,
            "error": None,
            "error_code": None,
            "waiting": False,
            "outputs": {},
        }
    return {**past, "seq": row.seq, "event_type": RUN_EVENT, "at": time_text(row.at)}


def _node_event(run: GraphExecution, event: _Event, outputs: _Outputs) -> Wire:
    """An activation as it was at one of its events."""
    row = event.row
    wanted = [(row.node_execution_id, ordinal) for ordinals in event.ordinals for ordinal in ordinals]
    shown = _fitting([outputs[key] for key in wanted if key in outputs])
    input_data = json.loads(row.input_text)
    input_shown = previews.preview_entries(input_data)
    result = node_result(
        run,
        node_execution_id=row.node_execution_id,
        node_id=row.node_id,
        block_id=row.block_id,
        status=NODE_STATUS[row.kind],
        input_data=input_shown,
        outputs=[(output.pin, output.value) for output in shown],
        output_count=row.outputs,
        started_at=row.started_at,
        ended_at=row.ended_at if row.kind in _NODE_ENDS else None,
        truncated=row.input_is_cut
        or input_shown != input_data
        or len(shown) < row.outputs - event.first
        or any(output.is_cut for output in shown),
    )
    about = {"outputs_from": event.first, "seq": row.seq, "event_type": NODE_EVENT, "at": time_text(row.at)}
    return {**result, **about}


def _outputs(run_id: UUID, events: Sequence[_Event]) -> _Outputs:
    """The outputs that the events show, by activation and number."""
    wanted = [(event.row.node_execution_id, part) for event in events for part in event.ordinals if part]
    if not wanted:
        return {}
    columns = [[pk for pk, _ in wanted], [part.start for _, part in wanted], [part.stop for _, part in wanted]]
    found = {}
    for pk, ordinal, pin, text, is_cut in rows_of(_OUTPUTS, [*columns, run_id]):
        value = json.loads(text)
        shown = previews.preview(value)
        length = min(len(text), previews.VALUE_LENGTH)
        found[pk, ordinal] = _Output(pin, shown, length, is_cut or shown is not value)
    return found


def _fitting(outputs: list[_Output]) -> list[_Output]:
    """The outputs that one message may hold: both ends when they are too long together."""
    if sum(output.length for output in outputs) <= OUTPUTS_LENGTH:
        return outputs
    room = OUTPUTS_LENGTH // 2
    front = _first_fitting(outputs, room)
    back = _first_fitting(outputs[len(front) :][::-1], room)
    return [*front, *back[::-1]]


def _first_fitting(outputs: Sequence[_Output], room: int) -> list[_Output]:
    for count, output in enumerate(outputs):
        room -= output.length
        if room < 0:
            return list(outputs[:count])
    return list(outputs)
