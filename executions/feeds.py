"""What a watcher of a run is sent, read from rows page by page: nothing is queued, so a slow one costs no memory.

docs/sockets.md describes the messages. A feed is used by one thread at a time.
"""

from datetime import UTC, datetime
from uuid import UUID

from accounts.models import User
from core.errors import Invalid
from executions.errors import NoSuchRun
from executions.kinds import FINAL, EventKind, Status
from executions.models import GraphExecution
from executions.pages import NODE_STATUS, Given, Page, PastEvent, given_by, page_after
from executions.reading import NO_STATS, Wire, listed_run, node_result, run_with_outputs, time_text, with_previews

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
        self._given: Given = {}

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
            self._given = given_by(self.run_id, self.seq)
        return []

    def next_page(self) -> list[Wire]:
        """The events that follow, in order; empty when there are none yet. A run that was deleted has no more."""
        if self.is_over:
            return []
        page = page_after(self.run_id, self.seq, self._given)
        if not page.events:
            return []
        run = self._run(is_shown=any(event.kind in RUN_STATUS for event in page.events))
        if run is None:
            self.is_over = True
            return []
        messages = [
            _node_event(run, event, page) if event.kind in NODE_STATUS else _past_run_event(run, event)
            for event in page.events
        ]
        last = page.events[-1]
        self.seq, self._given = last.seq, page.given
        self.is_over = RUN_STATUS.get(last.kind) in FINAL
        return messages

    def _run(self, *, is_shown: bool) -> GraphExecution | None:
        """The run, with its values if it is itself to be shown; None when it was deleted."""
        runs = GraphExecution.objects.visible_to(self._user).filter(pk=self.run_id)
        if is_shown:
            return with_previews(runs).first()
        return runs.only("user_id", "graph_id", "graph_version", "head_seq").first()


def run_event(run: GraphExecution, *, snapshot: bool = False) -> Wire:
    """A run, read `with_previews`, as it is now."""
    event = {**run_with_outputs(run), "event_type": RUN_EVENT, "at": time_text(datetime.now(UTC))}
    return {**event, "snapshot": True} if snapshot else event


def _past_run_event(run: GraphExecution, event: PastEvent) -> Wire:
    """The run as it was at an event of its own."""
    status = RUN_STATUS[event.kind]
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
