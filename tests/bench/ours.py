"""Taskloom in process: runs started by the service that every entry calls, their ends told by the stream's hint."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import connection

from executions import events, services
from executions.kinds import FINAL
from executions.new_runs import RunRequest
from tests.bench.graphs import Graphs
from tests.bench.installation import somebody
from tests.drawing import Drawn

_PATIENCE = 60.0


class Taskloom:
    """Every node a row, every event a row, everything committed synchronously. Needs workers that run."""

    name = "in process"
    leaves_out: frozenset[str] = frozenset()

    def start(self) -> None:
        """Begin to listen."""
        self._ends = _Ends()
        self._ends.start()
        self.graphs = Graphs(somebody(f"in-process-{id(self)}"), self._watch)
        self.chain(1)

    def stop(self) -> None:
        """Listen no more."""
        self._ends.stop()

    def chain(self, nodes: int) -> None:
        """Run one chain to its end."""
        self.run(self.graphs.chain(nodes))

    def fan(self, width: int) -> None:
        """Run one fan to its end."""
        self.run(self.graphs.fan(width))

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted before the first is waited for."""
        graph = self.graphs.chain(nodes)
        self.wait([self.submit(graph) for _ in range(runs)])

    def run(self, graph: Drawn) -> UUID:
        """Run a graph to its end."""
        run_id = self.submit(graph)
        self.wait([run_id])
        return run_id

    def submit(self, graph: Drawn) -> UUID:
        """Start a run."""
        return services.start_run(graph.id, graph.version, user_id=self.graphs.user.pk, inputs={}).pk

    def wait(self, run_ids: Sequence[UUID], patience: float = _PATIENCE) -> None:
        """Return when all of these have ended well; raises `TimeoutError` after `patience` seconds without news."""
        self._ends.wait(run_ids, patience)

    def _watch(self, graph: Drawn) -> None:
        self._ends.watch(self.graphs.user.pk, graph.id)


class TaskloomInOneCall(Taskloom):
    """The same, with a burst submitted by one call of a service."""

    name = "in process, in one call"
    leaves_out = frozenset({"W1", "W2", "W4", "W5a", "W5b"})

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted by one call."""
        graph = self.graphs.chain(nodes)
        started = services.start_runs(
            graph.id, graph.version, user_id=self.graphs.user.pk, runs=[RunRequest(inputs={})] * runs
        )
        self.wait([run.pk for run in started])


class _Ends:
    """Learns of the ends of runs the way a socket's consumer does: by the hint after the commit, then from the row."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._layer: Any = get_channel_layer()
        self._channel = ""
        self._topics: set[str] = set()

    def start(self) -> None:
        self._thread.start()
        self._channel = self._await(self._layer.new_channel())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def watch(self, user_id: UUID, graph_id: UUID) -> None:
        self._topics.add(events.graph_topic(user_id, graph_id))
        self._await(self._layer.group_add(events.group(user_id), self._channel))

    def wait(self, run_ids: Sequence[UUID], patience: float) -> None:
        missing = {str(run_id) for run_id in run_ids}
        while missing:
            news = self._await(self._layer.receive(self._channel), patience)["news"]
            told = {run_id for topic in self._topics & news.keys() for run_id in news[topic]}
            missing -= {run_id for run_id in told & missing if _has_ended(run_id)}

    def _await(self, awaitable: Coroutine[Any, Any, Any], patience: float = _PATIENCE) -> Any:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(awaitable, patience), self._loop).result()


def _has_ended(run_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM executions_graphexecution WHERE id = %s", [run_id])
        status = cursor.fetchone()[0]
    if status in FINAL and status != "COMPLETED":
        raise AssertionError(f"The run {run_id} ended as {status}")
    return status in FINAL
