"""One round: a calm moment, so many seconds of faults under load, and then the time it takes to come to rest."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from accounts.models import User
from executions.models import GraphExecution
from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.shapes import SHAPES
from tests.chaos.stack import Servers, Worker, persistently
from tests.chaos.verdict import Verdict, judge
from tests.crash.person import Person
from tests.waiting import wait_until

WORKERS = 3
REST_SECONDS = 120


class Round:
    """A round with its own workers and graphs, on servers that several share. What it leaves is in `folder`."""

    def __init__(self, seed: int, servers: Servers, folder: Path, most_runs: int | None) -> None:
        self._seed = seed
        self._servers = servers
        self._folder = folder
        folder.mkdir()
        owner = User.objects.create_user(f"chaos-{seed}@example.com", "correct horse battery staple")
        graphs = {name: shape.draw(owner, folder / f"{name}.effects") for name, shape in SHAPES.items()}
        self._load = Load(seed, owner.pk, graphs, most_runs)

    def play(self, seconds: float) -> Verdict:
        """Strike for so many seconds, wait until everything is at rest, and count."""
        with self._workers() as workers, Person():
            calm = self._be_calm(workers)
            faults = Faults(self._seed, self._servers, workers, self._folder / "faults.log")
            self._load.start()
            self._strike(faults, workers, seconds)
            self._load.finish()
            troubles = self._come_to_rest(workers)
        verdict = judge(self._seed, self._load.keys, calm, faults.done, self._folder)
        verdict.faults["doorbell never rung"] = self._load.dropped_doorbells
        verdict.troubles = [*troubles, *(trouble for worker in workers for trouble in worker.troubles)]
        if verdict.complaints:
            (self._folder / "complaints.txt").write_text("\n".join(verdict.complaints) + "\n")
        return verdict

    @contextlib.contextmanager
    def _workers(self) -> Iterator[list[Worker]]:
        workers: list[Worker] = []
        try:
            for number in range(1, WORKERS + 1):
                workers.append(Worker(f"worker-{number}", self._folder))
            yield workers
        finally:
            for worker in workers:
                worker.stop()

    def _be_calm(self, workers: list[Worker]) -> list[str]:
        """Run each shape once while nothing happens; returns the keys of these runs."""
        wait_until(lambda: all(" ready." in worker.log.read_text() for worker in workers), seconds=120)
        ids = [self._load.start_one(shape) for shape in SHAPES]
        wait_until(lambda: not GraphExecution.objects.filter(pk__in=ids, ended_at=None).exists(), seconds=60)
        return list(self._load.keys)

    def _strike(self, faults: Faults, workers: list[Worker], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            _watch(workers, min(until, time.monotonic() + faults.pause()))
            faults.strike()

    def _come_to_rest(self, workers: list[Worker]) -> list[str]:
        """Wait until every run has ended and every worker is back; returns what did not happen in time."""
        deadline = time.monotonic() + REST_SECONDS
        while time.monotonic() < deadline:
            _watch(workers, time.monotonic() + 0.2)
            if (
                all(worker.is_free for worker in workers)
                and self._servers.waiting_workers() == len(workers)
                and not persistently(_unfinished)
            ):
                return []
        troubles = [f"{worker.name} is not back" for worker in workers if not worker.is_free]
        if self._servers.waiting_workers() < len(workers):
            troubles.append(f"{self._servers.waiting_workers()} of {len(workers)} workers listen for doorbells")
        return troubles


def _watch(workers: list[Worker], until: float) -> None:
    """Look after the workers until then, at least once."""
    while True:
        for worker in workers:
            worker.watch()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(0.05, left))


def _unfinished() -> bool:
    return GraphExecution.objects.filter(ended_at=None).exists()
