"""What a watcher of a graph is sent: each of its runs whenever its status changes."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from accounts.models import User
from executions.feeds import run_event
from executions.kinds import ACTIVE, FINAL, Status
from executions.models import GraphExecution, GraphExecutionQuerySet
from executions.reading import Wire, rows_of, with_previews
from graphs.errors import GraphNotFound
from graphs.models import Graph

MAX_PAGE = 100
# Runs whose end is awaited at most; of more, the oldest are forgotten.
MAX_TRACKED = 1000
# A run becomes visible when its transaction commits, which may be later than one that was created after it.
_OVERLAP = timedelta(seconds=10)


class GraphFeed:
    """The runs of one graph of a user: those under way when it begins, then every change of a status.

    Changes that follow each other faster than they are read are sent as the last one.
    """

    def __init__(self, user: User, graph_id: UUID) -> None:
        self.graph_id = graph_id
        self.is_over = False
        self._user = user
        self._since: datetime
        # The status that the watcher knows of each run, for those under way and those created since `_since`.
        self._known: dict[UUID, tuple[Status, datetime]] = {}

    def open(self) -> list[Wire]:
        """Begin with the newest runs that are under way; raises `GraphNotFound` when the user has no such graph."""
        if not Graph.objects.visible_to(self._user).filter(pk=self.graph_id).exists():
            raise GraphNotFound(graph_id=str(self.graph_id))
        ((now,),) = rows_of("SELECT clock_timestamp()", [])
        self._since = now - _OVERLAP
        ended_before = self._runs().filter(created_at__gt=self._since, status__in=FINAL)
        self._know(ended_before.only("status", "created_at"))
        under_way = with_previews(self._runs().filter(status__in=ACTIVE)).order_by("-created_at", "-pk")[:MAX_PAGE]
        runs = list(under_way)[::-1]
        self._know(runs)
        return [run_event(run, snapshot=True) for run in runs]

    def next_page(self) -> list[Wire]:
        """The runs whose status is another than the watcher knows, oldest first; empty when there are none."""
        news = Q(created_at__gt=self._since) & ~Q(pk__in=list(self._known))
        for status in ACTIVE:
            known = [run_id for run_id, (last, _) in self._known.items() if last is status]
            if known:
                news |= Q(pk__in=known) & ~Q(status=status)
        runs = list(with_previews(self._runs().filter(news)).order_by("created_at", "pk")[:MAX_PAGE])
        events = [run_event(run) for run in runs]
        self._know(runs)
        if len(runs) < MAX_PAGE:
            self._forget()
        return events

    def _runs(self) -> GraphExecutionQuerySet:
        return GraphExecution.objects.visible_to(self._user).filter(graph=self.graph_id)

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
