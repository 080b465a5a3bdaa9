"""Doorbells that never ring: the broker is erased, and there is none at all."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.kinds import FINAL, Status
from executions.models import GraphExecution
from tests.drawing import Drawn, draw
from tests.executions.test_engine import calling, child, output, outputs
from tests.invariants import violations
from tests.waiting import wait_until
from tests.workers import worker


def shapes(owner: User) -> dict[str, Drawn]:
    """Graphs that wait for nothing, for the world, for a time and for another graph; each gives 2."""
    links = ["in.result -> work.n", "work.more -> out.value"]
    return {
        "chain": draw(
            owner,
            {"one": ("StoreValue", {"input": 1}), "add": ("Calculator", {"operation": "Add", "b": 1}), "out": output()},
            ["one.output -> add.a", "add.result -> out.value"],
        ),
        "read": draw(
            owner, {"read": ("ProbeRead", {"value": 2, "seconds": 0.02}), "out": output()}, ["read.value -> out.value"]
        ),
        "timer": draw(
            owner,
            {"timer": ("CountdownTimer", {"seconds": 1.1, "input_message": 2}), "out": output()},
            ["timer.output_message -> out.value"],
        ),
        "call": draw(
            owner,
            {"in": ("AgentInput", {"name": "n", "value": 1}), "work": calling(child(owner)), "out": output()},
            links,
        ),
    }


def ended_well(count: int, seconds: float = 40) -> bool:
    """Wait until all runs have ended; whether each is as it should be, and `count` of them were started by hand."""
    wait_until(lambda: not GraphExecution.objects.exclude(status__in=FINAL).exists(), seconds)
    assert violations() == []
    runs = GraphExecution.objects.filter(parent=None)
    assert runs.count() == count
    return all((run.status, outputs(run)) == (Status.COMPLETED, {"out": [2]}) for run in runs)


def test_sweepers_alone_finish_everything(
    owner: User, another_engine: Callable[[], Engine], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SWEEP_SECONDS, settings.ENGINE_RUNS, settings.RUNS_PER_USER = 0.3, 4, 6
    # Neither a timer nor a child's start or end is heard of in the process that would know first.
    monkeypatch.setattr(Engine, "_accept", lambda engine, run_ids: None)
    for graph in shapes(owner).values():
        for _ in range(10):
            services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    for _ in range(2):
        another_engine()
    assert ended_well(40)


def test_an_erased_broker_changes_only_times(owner: User, settings: Settings, tmp_path: Path) -> None:
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.delete("runs")
    graphs = shapes(owner)
    for graph in graphs.values():
        for _ in range(5):
            services.start_run(graph.id, 1, user_id=owner.pk, inputs={})
    assert broker.llen("runs") == 20
    broker.flushdb()
    assert set(GraphExecution.objects.values_list("status", flat=True)) == {Status.QUEUED}
    with worker(tmp_path / "worker.log"):
        for _ in range(10):
            services.start_run(graphs["read"].id, 1, user_id=owner.pk, inputs={})
            broker.flushdb()
            time.sleep(0.05)
        assert ended_well(30)


def test_a_doorbell_is_small(owner: User, settings: Settings) -> None:
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.delete("runs")
    graph = shapes(owner)["chain"]
    services.start_run(graph.id, 1, user_id=owner.pk, inputs={"large": "x" * 100_000})
    messages = broker.lrange("runs", 0, -1)
    broker.delete("runs")
    assert [len(message) < 1024 for message in messages] == [True]
