"""RabbitMQ in place of Redis as the broker: the URL is all that changes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from accounts.models import User
from executions.kinds import FINAL, Status
from executions.models import GraphExecution
from tests.drawing import Drawn, draw
from tests.executions.test_engine import output, outputs
from tests.invariants import violations
from tests.rabbitmq import SERVER, channel, rabbitmq, waiting_in
from tests.waiting import wait_until
from tests.workers import ROOT, environment, worker

pytestmark = [
    pytest.mark.skipif(not SERVER, reason="rabbitmq-server is not installed (apt-get install rabbitmq-server)"),
    pytest.mark.timeout(180),
]

# What a web process does, in a process of its own: the broker's URL is read once.
_START = """
import sys, django
django.setup()
from uuid import UUID
from executions import services
graph_id, user_id, count = sys.argv[1:]
for _ in range(int(count)):
    print(services.start_run(UUID(graph_id), 1, user_id=UUID(user_id), inputs={}).pk)
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a RabbitMQ."""
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture
def empty(url: str) -> str:
    """The same, with nothing in its queues."""
    with channel(url) as broker:
        broker.queue_delete("runs")
    return url


def chain(owner: User) -> Drawn:
    """A graph of five nodes, one of which waits for the world."""
    return draw(
        owner,
        {
            "one": ("StoreValue", {"input": 1}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "call": ("ProbeRead", {"seconds": 0.01}),
            "double": ("Calculator", {"operation": "Multiply", "b": 2}),
            "out": output(),
        },
        ["one.output -> add.a", "add.result -> call.value", "call.value -> double.a", "double.result -> out.value"],
    )


def begin(url: str, graph: Drawn, owner: User, count: int) -> list[UUID]:
    """Start runs in a process that knows the broker by its URL."""
    started = subprocess.run(
        [sys.executable, "-c", _START, str(graph.id), str(owner.pk), str(count)],
        cwd=ROOT,
        env=environment(CELERY_BROKER_URL=url),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [UUID(line) for line in started.stdout.split()]


def all_give(run_ids: list[UUID], value: object) -> bool:
    """Wait until the runs have ended; whether each gave the value and keeps every promise."""
    wait_until(lambda: not GraphExecution.objects.filter(pk__in=run_ids).exclude(status__in=FINAL).exists(), 40)
    runs = list(GraphExecution.objects.filter(pk__in=run_ids))
    assert violations(run_ids) == []
    return all((run.status, outputs(run)) == (Status.COMPLETED, {"out": [value]}) for run in runs)


def test_doorbells_ring_by_rabbitmq(empty: str, owner: User, tmp_path: Path) -> None:
    graph = chain(owner)
    # No sweep comes in time: what is driven was told by the broker.
    with worker(tmp_path / "worker.log", CELERY_BROKER_URL=empty, TASKLOOM_SWEEP_SECONDS="600") as process:
        assert all_give(begin(empty, graph, owner, 1), 4.0)
        assert all_give(begin(empty, graph, owner, 100), 4.0)
        process.terminate()
        # The loop of a worker that knows of nothing to do sleeps for ten seconds.
        assert process.wait(5) == 0


def test_doorbells_wait_in_rabbitmq_for_a_worker(empty: str, owner: User, tmp_path: Path) -> None:
    run_ids = begin(empty, chain(owner), owner, 10)
    assert waiting_in(empty, "runs") == 10
    with worker(tmp_path / "worker.log", CELERY_BROKER_URL=empty, TASKLOOM_SWEEP_SECONDS="600"):
        assert all_give(run_ids, 4.0)


def test_a_purge_of_rabbitmq_changes_only_times(empty: str, owner: User, tmp_path: Path) -> None:
    graph = chain(owner)
    run_ids = begin(empty, graph, owner, 30)
    with channel(empty) as broker:
        assert broker.queue_purge("runs") == 30
    assert GraphExecution.objects.filter(status=Status.QUEUED).count() == 30
    with worker(tmp_path / "worker.log", CELERY_BROKER_URL=empty):
        run_ids += begin(empty, graph, owner, 30)
        with channel(empty) as broker:
            broker.queue_purge("runs")
        assert all_give(run_ids, 4.0)
    assert set(GraphExecution.objects.values_list("fence", flat=True)) == {1}


def test_a_run_that_rabbitmq_is_not_told_of_is_found(empty: str, owner: User, tmp_path: Path) -> None:
    nowhere = "amqp://guest:guest@127.0.0.1:1//"
    run_ids = begin(nowhere, chain(owner), owner, 2)
    assert set(GraphExecution.objects.values_list("status", flat=True)) == {Status.QUEUED}
    with worker(tmp_path / "worker.log", CELERY_BROKER_URL=empty):
        assert all_give(run_ids, 4.0)
