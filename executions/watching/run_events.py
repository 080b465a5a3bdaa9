"""The events of a run as they are told, read from rows page by page: what is not asked for is kept nowhere.

docs/sockets.md describes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from accounts.models import User
from core.errors import Invalid
from executions.errors import NoSuchRun
from executions.kinds import FINAL, EventKind, Status
from executions.models import GraphExecution
from executions.reading import NO_STATS, Wire, listed_run, node_result, runs_with_outputs, time_text
from executions.watching.pages import NODE_STATUS, Page, PastEvent, given_by, page_after
from executions.watching.shown_runs import plain_run, shown_runs

RUN_EVENT = "graph_execution_update"
NODE_EVENT = "node_execution_update"

RUN_STATUS = {
    EventKind.RUN_QUEUED: Status.QUEUED,
    EventKind.RUN_STARTED: Status.RUNNING,
    EventKind.RUN_REVIEW: Status.REVIEW,
    EventKind.RUN_RESUMED: Status.RUNNING,
    EventKind.RUN_COMPLETED: Status.COMPLETED,
    EventKind.RUN_FAILED: Status.FAILED,
    EventKind.RUN_TERMINATED: Status.TERMINATED,
}


class Place(NamedTuple):
    """Where a watcher stands: the number of the last event it has, and what activations under way had given by then."""

    seq: int
    given: frozenset[tuple[UUID, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """Events that follow each other, the place after them, and whether none can follow."""

    events: Sequence[Wire]
    place: Place
    is_over: bool = False


def opening(user: User, run_id: UUID, after_seq: int | None) -> tuple[Told, int]:
    """What a watcher begins with, and the number of the run's newest event: without `after_seq` the run as it is now.

    Raises `NoSuchRun` when the user has no such run, `Invalid` when `after_seq` is beyond the newest event.
    """
    run = _visible(user, run_id, is_shown=after_seq is None)
    if run is None:
        raise NoSuchRun(run_id=str(run_id))
    if after_seq is None:
        return Told(run_events([run], snapshot=True), Place(run.head_seq), run.status in FINAL), run.head_seq
    if after_seq > run.head_seq:
        raise Invalid(f"after_seq {after_seq} is beyond the run's newest event, {run.head_seq}")
    given = given_by(run_id, after_seq) if after_seq else {}
    return Told([], Place(after_seq, frozenset(given.items()))), run.head_seq


def events_after(user: User, run_id: UUID, place: Place) -> Told:
    """The events that follow the place, in order; none when there are none yet. A run that was deleted has no more."""
    page = page_after(run_id, place.seq, dict(place.given))
    if not page.events:
        return Told([], place)
    run = _visible(user, run_id, is_shown=any(event.kind in RUN_STATUS for event in page.events))
    if run is None:
        return Told([], place, is_over=True)
    events = [
        _node_event(run, event, page) if event.kind in NODE_STATUS else _past_run_event(run, event)
        for event in page.events
    ]
    last = page.events[-1]
    given = frozenset(page.given.items())
    return Told(events, Place(last.seq, given), is_over=RUN_STATUS.get(last.kind) in FINAL)


def _visible(user: User, run_id: UUID, *, is_shown: bool) -> GraphExecution | None:
    """The run, with its values if it is itself to be shown; None when it was deleted or is another's."""
    if is_shown:
        return next(iter(shown_runs(user.pk, [run_id])), None)
    return plain_run(user.pk, run_id)


def run_events(runs: Sequence[GraphExecution], *, snapshot: bool = False) -> list[Wire]:
    """Runs of one user, read `with_previews`, as they are now."""
    about: Wire = {"event_type": RUN_EVENT, "at": time_text(datetime.now(UTC))}
    if snapshot:
        about["snapshot"] = True
    return [{**run, **about} for run in runs_with_outputs(runs)]


def _past_run_event(run: GraphExecution, event: PastEvent) -> Wire:
    """The run as it was at an event of its own."""
    status = RUN_STATUS[event.kind]
    if status.is_final:
        (past,) = runs_with_outputs([run])
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
    return {**past, "seq": event.seq, "event_type": RUN_EVENT, "at": time_text(event.at)}


def _node_event(run: GraphExecution, event: PastEvent, page: Page) -> Wire:
    """An activation as it was at one of its events."""
    activation = page.activations[event.node_execution_id]
    outputs = page.outputs_of(event)
    is_short = len(outputs) == event.outputs - event.first and not any(output.is_cut for output in outputs)
    result = node_result(
        run,
        node_execution_id=event.node_execution_id,
        node_id=activation.node_id,
        block_id=activation.block_id,
        status=NODE_STATUS[event.kind],
        input_data=activation.input_data,
        outputs=[(output.pin, output.value) for output in outputs],
        output_count=event.outputs,
        started_at=activation.started_at,
        ended_at=activation.ended_at if event.is_end else None,
        truncated=activation.is_cut or not is_short,
    )
    about = {"outputs_from": event.first, "seq": event.seq, "event_type": NODE_EVENT, "at": time_text(event.at)}
    return {**result, **about}
