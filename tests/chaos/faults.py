"""What goes wrong, when, and whom it hits: decided by a seeded generator."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from executions.kinds import Status
from executions.models import GraphExecution
from tests.chaos.stack import LEASE_SECONDS, Servers, Worker, persistently

KINDS = (
    "worker SIGKILL",
    "worker SIGTERM",
    "worker SIGSTOP beyond its lease",
    "Valkey FLUSHALL",
    "Valkey restarted, empty",
    "Valkey CLIENT KILL",
    "Postgres backends terminated",
    "Postgres restarted, immediate",
)
_WORKER_KINDS = KINDS[:3]
_VALKEY_KINDS = KINDS[3:6]


@dataclass(frozen=True)
class Fault:
    """What was done, when by the clock that Postgres shares, to which worker, and which runs it hit.

    A worker's fault hits the runs it drives, one of Postgres all that are driven, one of Valkey those that wait for
    their doorbell.
    """

    kind: str
    at: datetime
    worker: str
    hit: tuple[UUID, ...]

    def __str__(self) -> str:
        hit = " ".join(map(str, self.hit))
        return f"{self.at:%H:%M:%S.%f} {self.kind} {self.worker} hits {len(self.hit)} runs: {hit}"


class Faults:
    """Strikes again and again; every kind has had its turn before one comes twice."""

    def __init__(self, seed: int, servers: Servers, workers: list[Worker], log: Path) -> None:
        self.done: list[Fault] = []
        self._random = random.Random(seed)
        self._servers = servers
        self._workers = workers
        self._log = log
        self._deck: list[str] = []

    def pause(self) -> float:
        """The seconds until the next fault."""
        return self._random.uniform(0.3, 2.0)

    def strike(self) -> None:
        """Do the next thing."""
        if not self._deck:
            self._deck = self._random.sample(KINDS, len(KINDS))
        kind = self._deck.pop()
        # Drawn also where they are not needed, so that the same seed always does the same things.
        index, stretch = self._random.randrange(len(self._workers)), self._random.uniform(1.3, 2.0)
        if kind in _WORKER_KINDS:
            worker = self._free_worker(index)
            hit = persistently(lambda: _driven(f":{worker.pid}:"))
            self._do(kind, worker.name, hit, self._of_worker(kind, worker, stretch * LEASE_SECONDS))
        else:
            hit = persistently(_queued if kind in _VALKEY_KINDS else _driven)
            self._do(kind, "", hit, self._of_server(kind))

    def _do(self, kind: str, worker: str, hit: tuple[UUID, ...], act: Callable[[], object]) -> None:
        fault = Fault(kind, datetime.now(UTC), worker, hit)
        self.done.append(fault)
        with self._log.open("a") as log:
            log.write(f"{fault}\n")
        act()

    def _free_worker(self, index: int) -> Worker:
        """The worker with this number, or the next one that nothing is being done to."""
        deadline = time.monotonic() + 60
        while True:
            for worker in self._workers:
                worker.watch()
            free = [worker for worker in self._workers[index:] + self._workers[:index] if worker.is_free]
            if free:
                return free[0]
            assert time.monotonic() < deadline, "no worker came back"
            time.sleep(0.05)

    def _of_worker(self, kind: str, worker: Worker, seconds: float) -> Callable[[], object]:
        acts: dict[str, Callable[[], object]] = {
            "worker SIGKILL": worker.kill,
            "worker SIGTERM": worker.drain,
            "worker SIGSTOP beyond its lease": lambda: worker.halt(seconds),
        }
        return acts[kind]

    def _of_server(self, kind: str) -> Callable[[], object]:
        servers = self._servers
        acts: dict[str, Callable[[], object]] = {
            "Valkey FLUSHALL": lambda: servers.valkey().flushall(),
            "Valkey restarted, empty": servers.restart_valkey,
            "Valkey CLIENT KILL": lambda: servers.valkey().execute_command("CLIENT", "KILL", "TYPE", "normal"),
            "Postgres backends terminated": lambda: persistently(servers.cut_backends),
            "Postgres restarted, immediate": servers.crash_postgres,
        }
        return acts[kind]


def _driven(owner: str = "") -> tuple[UUID, ...]:
    """The runs that workers drive, or that the one does whose name in leases has this part."""
    driven = GraphExecution.objects.filter(status=Status.RUNNING, lease_owner__contains=owner)
    return tuple(driven.values_list("pk", flat=True))


def _queued() -> tuple[UUID, ...]:
    """The runs that wait for a worker to be told of them."""
    return tuple(GraphExecution.objects.filter(status=Status.QUEUED).values_list("pk", flat=True))
