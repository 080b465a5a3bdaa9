"""What a watcher of a run is sent, read from rows page by page: nothing is queued, so a slow one costs no memory.

docs/sockets.md describes the messages.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from accounts.models import User
from core.errors import Invalid
from executions import events
from executions.errors import NoSuchRun
from executions.kinds import FINAL, EventKind, Status
from executions.messages import NODE_EVENT, RUN_EVENT, event_text
from executions.models import GraphExecution
from executions.pages import NODE_STATUS, Page, PastEvent, given_by, page_after
from executions.readers import SharedReads, reading
from executions.reading import NO_STATS, Wire, listed_run, node_result, runs_with_outputs, time_text, with_previews

RUN_STATUS = {
    EventKind.RUN_QUEUED: Status.QUEUED,
    EventKind.RUN_STARTED: Status.RUNNING,
    EventKind.RUN_REVIEW: Status.REVIEW,
    EventKind.RUN_RESUMED: Status.RUNNING,
    EventKind.RUN_COMPLETED: Status.COMPLETED,
    EventKind.RUN_FAILED: Status.FAILED,
    EventKind.RUN_TERMINATED: Status.TERMINATED,
}


def run_channel(user_id: UUID, run_id: UUID) -> str:
    """What a subscription to a run is called on the wire."""
    return f"{user_id}|graph_exec#{run_id}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a watcher stands: the number of the last event it has, and what activations under way had given by then."""

    seq: int
    given: frozenset[tuple[UUID, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Messages that follow each other, the place after them, and whether none can follow."""

    texts: Sequence[str]
    place: Place
    is_over: bool = False


_reads: SharedReads[EventPage] = SharedReads()


class RunFeed:
    """The events of one run, numbered without gaps from `after_seq` + 1, or from now on after a snapshot.

    `seq` is the number of the last event read; `is_over` tells that none can follow. Watchers of one user who stand at
    the same place get the same page, read and encoded once.
    """

    longest_rest = 0.0

    def __init__(self, user: User, run_id: UUID, after_seq: int | None = None) -> None:
        self.run_id = run_id
        self.channel = run_channel(user.pk, run_id)
        self.topic = events.run_topic(run_id)
        self.is_over = False
        self._user = user
        self._after_seq = after_seq
        self._place = Place(after_seq or 0)
        # The number of the newest event that is known of.
        self._head = 0
        # What follows the place, once it is being read.
        self._next: asyncio.Task[EventPage] | None = None
        # Held while its page is sent, so that others who come to where this one was meanwhile find it.
        self._last: asyncio.Task[EventPage] | None = None

    @property
    def seq(self) -> int:
        """The number of the last event read."""
        return self._place.seq

    async def open(self) -> Sequence[str]:
        """Begin; a feed without `after_seq` begins with the run as it is now.

        Raises `NoSuchRun` when the user has no such run, `Invalid` when `after_seq` is beyond the newest event.
        """
        page, head_seq = await reading(_opening)(self._user, self.run_id, self.channel, self._after_seq)
        self._place, self.is_over = page.place, page.is_over
        self._head = max(self._head, head_seq)
        return page.texts

    def hear(self, heads: Mapping[str, int], wake: Callable[[], None]) -> None:
        """There are events up to this number: they are read at once, for all who stand at the same place."""
        self._head = max(self._head, *heads.values())
        if self._next is None and self._has_news:
            self._next = self._begin()
            # Not before: hundreds of sockets that woke up would be in the way of the thread that reads.
            self._next.add_done_callback(lambda _: wake())

    async def next_page(self) -> Sequence[str]:
        """The events that follow, in order; empty when there are none yet. A run that was deleted has no more."""
        self._last = None
        if not self._has_news:
            return []
        read = self._next = self._next or self._begin()
        try:
            # Others may wait for the same when this socket is closed.
            page = read.result() if read.done() else await asyncio.shield(read)
        finally:
            self._next = None
        self._last = read
        self._place, self.is_over = page.place, page.is_over
        return page.texts

    @property
    def _has_news(self) -> bool:
        return self.seq < self._head and not self.is_over

    def _begin(self) -> asyncio.Task[EventPage]:
        """Read what follows; one who knows of newer events does not rely on a read that began before."""
        page_after = partial(_page_after, self._user, self.run_id, self.channel, self._place)
        return _reads.read((self._user.pk, self.run_id, self._place, self._head), page_after)


def _opening(user: User, run_id: UUID, channel: str, after_seq: int | None) -> tuple[EventPage, int]:
    """What a feed begins with, and the number of the run's newest event."""
    run = _visible(user, run_id, is_shown=after_seq is None)
    if run is None:
        raise NoSuchRun(run_id=str(run_id))
    if after_seq is None:
        (event,) = run_events([run], snapshot=True)
        return EventPage([event_text(channel, event)], Place(run.head_seq), run.status in FINAL), run.head_seq
    if after_seq > run.head_seq:
        raise Invalid(f"after_seq {after_seq} is beyond the run's newest event, {run.head_seq}")
    given = given_by(run_id, after_seq) if after_seq else {}
    return EventPage([], Place(after_seq, frozenset(given.items()))), run.head_seq


def _page_after(user: User, run_id: UUID, channel: str, place: Place) -> EventPage:
    page = page_after(run_id, place.seq, dict(place.given))
    if not page.events:
        return EventPage([], place)
    run = _visible(user, run_id, is_shown=any(event.kind in RUN_STATUS for event in page.events))
    if run is None:
        return EventPage([], place, is_over=True)
    messages = [
        _node_event(run, event, page) if event.kind in NODE_STATUS else _past_run_event(run, event)
        for event in page.events
    ]
    last = page.events[-1]
    return EventPage(
        [event_text(channel, message) for message in messages],
        Place(last.seq, frozenset(page.given.items())),
        is_over=RUN_STATUS.get(last.kind) in FINAL,
    )


def _visible(user: User, run_id: UUID, *, is_shown: bool) -> GraphExecution | None:
    """The run, with its values if it is itself to be shown; None when it was deleted or is another's."""
    runs = GraphExecution.objects.visible_to(user).filter(pk=run_id)
    if is_shown:
        return with_previews(runs).first()
    return runs.only("user_id", "graph_id", "graph_version", "head_seq").first()


def run_events(runs: Sequence[GraphExecution], *, snapshot: bool = False) -> list[Wire]:
    """Runs of one graph, read `with_previews`, as they are now."""
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
