"""Taskloom itself: two worker processes, runs started by the service that every entry calls."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import connection

from accounts.models import User
from executions import events, services
from executions.kinds import FINAL
from tests.drawing import Drawn, draw
from tests.workers import worker


class Taskloom:
    """Every node a row, every event a row, everything committed synchronously; told of the end by the stream's hint."""

    name = "Taskloom"
    is_slow = False

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers
        self._running = ExitStack()
        self._drawn: dict[tuple[str, int], Drawn] = {}
        self._ends = _Ends()

    def start(self) -> None:
        """Start the workers and draw the graphs."""
        self._user = User.objects.create_user(email="bench@example.com", password="bench")
        logs = Path(self._running.enter_context(tempfile.TemporaryDirectory()))
        for number in range(self._workers):
            log = logs / f"worker{number}.log"
            self._running.enter_context(worker(log, TASKLOOM_LEASE_SECONDS="15", DJANGO_LOG_LEVEL="WARNING"))
        self._ends.start()
        self.chain(1)

    def stop(self) -> None:
        """Stop the workers."""
        self._running.close()
        self._ends.stop()

    def chain(self, nodes: int) -> None:
        """Run one chain to its end."""
        self._ends.wait([self._submit(self._chain(nodes))])

    def fan(self, width: int) -> None:
        """Run one fan to its end."""
        self._ends.wait([self._submit(self._fan(width))])

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted before the first is waited for."""
        graph = self._chain(nodes)
        self._ends.wait([self._submit(graph) for _ in range(runs)])

    def _submit(self, graph: Drawn) -> UUID:
        return services.start_run(graph.id, graph.version, user_id=self._user.pk, inputs={}).pk

    def _chain(self, nodes: int) -> Drawn:
        def make() -> Drawn:
            adding = {f"n{n}": ("Calculator", _adding(first=n == 0)) for n in range(nodes)}
            return draw(self._user, adding, [f"n{n}.result -> n{n + 1}.a" for n in range(nodes - 1)])

        return self._known(("chain", nodes), make)

    def _fan(self, width: int) -> Drawn:
        def make() -> Drawn:
            adding = {f"n{n}": ("Calculator", _adding(first=False)) for n in range(width)}
            return draw(
                self._user,
                {"start": ("Calculator", _adding(first=True)), **adding, "join": ("CreateList", {})},
                [f"start.result -> n{n}.a" for n in range(width)]
                + [f"n{n}.result -> join.values_$_{n}" for n in range(width)],
            )

        return self._known(("fan", width), make)

    def _known(self, key: tuple[str, int], make: Callable[[], Drawn]) -> Drawn:
        if key not in self._drawn:
            self._drawn[key] = make()
            self._ends.watch(self._user.pk, self._drawn[key].id)
        return self._drawn[key]


def _adding(*, first: bool) -> dict[str, object]:
    return {"operation": "Add", "b": 1, **({"a": 1} if first else {})}


class _Ends:
    """Learns of the ends of runs the way a socket's consumer does: by the hint after the commit, then from the row."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._layer: Any = get_channel_layer()
        self._channel = ""

    def start(self) -> None:
        self._thread.start()
        self._channel = self._await(self._layer.new_channel())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def watch(self, user_id: UUID, graph_id: UUID) -> None:
        self._await(self._layer.group_add(events.graph_group(user_id, graph_id), self._channel))

    def wait(self, run_ids: list[UUID]) -> None:
        missing = {str(run_id) for run_id in run_ids}
        while missing:
            hint = self._await(self._layer.receive(self._channel))
            if hint["run_id"] in missing and _has_ended(hint["run_id"]):
                missing.discard(hint["run_id"])

    def _await(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(60)


def _has_ended(run_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM executions_graphexecution WHERE id = %s", [run_id])
        return cursor.fetchone()[0] in FINAL
