"""What a watcher of a graph, or of all graphs, is sent: each run whenever its status changes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from accounts.models import User
from executions import events
from executions.kinds import ACTIVE, FINAL, Status
from executions.models import GraphExecution, GraphExecutionQuerySet
from executions.reading import rows_of, with_previews
from executions.watching.messages import event_text
from executions.watching.readers import reading
from executions.watching.run_events import run_events
from executions.watching.shown_runs import shown_runs
from graphs.errors import GraphNotFound
from graphs.models import Graph

MAX_PAGE = 100
# Runs whose end is awaited at most; of more, the oldest are forgotten.
MAX_TRACKED = 1000
# Runs that were heard of and not yet read are remembered up to this many; of more, all are looked at.
MAX_HEARD = 2000
# A run becomes visible when its transaction commits, which may be later than one that was created after it.
_OVERLAP = timedelta(seconds=10)


class GraphFeed:
    """The runs of a user, of one graph or of all: those under way when it begins, then every change of a status.

    Changes that follow each other faster than they are read are sent as the last one.
    """

    longest_rest = 0.2

    def __init__(self, user: User, graph_id: UUID | None) -> None:
        if graph_id is None:
            self.channel, self.topic = f"{user.pk}|executions", events.user_topic(user.pk)
        else:
            self.channel = f"{user.pk}|graph#{graph_id}|executions"
            self.topic = events.graph_topic(user.pk, graph_id)
        self.is_over = False
        self._graph_id = graph_id
        self._user = user
        self._since: datetime
        # The status that the watcher knows of each run, for those under way and those created since `_since`.
        self._known: dict[UUID, tuple[Status, datetime]] = {}
        # Runs that were heard of and are yet to be read; whether any other may have changed, too.
        self._heard: set[UUID] = set()
        self._must_look = False

    async def open(self) -> Sequence[str]:
        """Begin with the newest runs that are under way; raises `GraphNotFound` when the user has no such graph."""
        return await reading(self._open)()

    def hear(self, heads: Mapping[str, int], wake: Callable[[], None]) -> None:
        """These runs are new or have another status; without any, whichever may."""
        self._heard.update(map(UUID, heads))
        if not heads or len(self._heard) > MAX_HEARD:
            self._heard.clear()
            self._must_look = True
        wake()

    async def next_page(self) -> Sequence[str]:
        """The runs whose status is another than the watcher knows, oldest first; empty when there are none."""
        while self._must_look or self._heard:
            if texts := await self._read():
                return texts
        return []

    async def _read(self) -> Sequence[str]:
        try:
            if self._must_look:
                self._must_look = False
                return await reading(self._look)()
            chunk = sorted(self._heard)[:MAX_PAGE]
            self._heard.difference_update(chunk)
            return await reading(self._read_heard)(chunk)
        except BaseException:
            # Nothing that was heard may be forgotten.
            self._must_look = True
            raise

    def _open(self) -> Sequence[str]:
        if self._graph_id and not Graph.objects.visible_to(self._user).filter(pk=self._graph_id).exists():
            raise GraphNotFound(graph_id=str(self._graph_id))
        ((now,),) = rows_of("SELECT clock_timestamp()", [])
        self._since = now - _OVERLAP
        ended_before = self._runs().filter(created_at__gt=self._since, status__in=FINAL)
        self._know(ended_before.only("status", "created_at"))
        under_way = with_previews(self._runs().filter(status__in=ACTIVE)).order_by("-created_at", "-pk")[:MAX_PAGE]
        runs = list(under_way)[::-1]
        self._know(runs)
        return self._texts(runs, snapshot=True)

    def _read_heard(self, run_ids: Sequence[UUID]) -> Sequence[str]:
        runs = [run for run in shown_runs(self._user.pk, run_ids) if self._is_news(run)]
        self._know(runs)
        return self._texts(runs)

    def _look(self) -> Sequence[str]:
        """Find what nobody told of."""
        news = Q(created_at__gt=self._since) & ~Q(pk__in=list(self._known))
        for status in ACTIVE:
            known = [run_id for run_id, (last, _) in self._known.items() if last is status]
            if known:
                news |= Q(pk__in=known) & ~Q(status=status)
        runs = list(with_previews(self._runs().filter(news)).order_by("created_at", "pk")[:MAX_PAGE])
        self._know(runs)
        if len(runs) < MAX_PAGE:
            self._forget()
        else:
            self._must_look = True
        return self._texts(runs)

    def _is_news(self, run: GraphExecution) -> bool:
        known = self._known.get(run.pk)
        is_watched = self._graph_id in (None, run.graph_id)
        return is_watched and (known is None or known[0] != run.status)

    def _texts(self, runs: Sequence[GraphExecution], *, snapshot: bool = False) -> Sequence[str]:
        return [event_text(self.channel, event) for event in run_events(runs, snapshot=snapshot)]

    def _runs(self) -> GraphExecutionQuerySet:
        runs = GraphExecution.objects.visible_to(self._user)
        return runs.filter(graph=self._graph_id) if self._graph_id else runs

    def _know(self, runs: Iterable[GraphExecution]) -> None:
        self._known.update({run.pk: (Status(run.status), run.created_at) for run in runs})

    def _forget(self) -> None:
        """Drop what no query needs any more: runs that ended, and the oldest of too many, before the overlap."""
        newest = max((created_at for _, created_at in self._known.values()), default=self._since)
        self._since = max(self._since, newest - _OVERLAP)
        old = [run_id for run_id, (_, created_at) in self._known.items() if created_at <= self._since]
        waiting = [run_id for run_id in old if self._known[run_id][0] in ACTIVE]
        for run_id in {*old} - {*waiting[-MAX_TRACKED:]}:
            del self._known[run_id]
