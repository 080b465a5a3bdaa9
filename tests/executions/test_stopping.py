"""Runs that are asked to stop."""

from collections.abc import Callable
from pathlib import Path

import pytest

from accounts.models import User
from core.ids import uuid7
from executions import services
from executions.engine.engine import Engine
from executions.errors import NoSuchRun
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, NodeOutput
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import calling, kinds


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """A file that keeps a probe from going on."""
    path = tmp_path / "hold"
    path.touch()
    return path


def start(graph: Drawn, owner: User, engine: Engine | None = None) -> GraphExecution:
    """Start a run, and tell the engine."""
    run = services.start_run(graph.id, graph.version, user_id=owner.pk, inputs={}, ring=False)
    if engine is not None:
        engine.ring([run.pk])
    return run


def test_a_queued_run_ends_at_once(owner: User) -> None:
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1})}), owner)
    stopped = services.stop_run(run.pk)
    assert stopped.status == Status.TERMINATED
    assert stopped.ended_at is not None
    assert kinds(stopped) == ["run.queued", "run.terminated"]


def test_a_run_that_was_stopped_while_queued_never_starts(owner: User, engine: Engine) -> None:
    graph = draw(owner, {"one": ("StoreValue", {"input": 1})})
    stopped = services.stop_run(start(graph, owner).pk)
    other = start(graph, owner)
    engine.ring([stopped.pk, other.pk])
    assert ended(other.pk).status == Status.COMPLETED
    assert not NodeExecution.objects.filter(run=stopped.pk).exists()


def test_a_running_run_ends_within_moments(owner: User, engine: Engine, hold: Path) -> None:
    run = start(draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold)})}), owner, engine)
    node = eventually(lambda: NodeExecution.objects.filter(run=run.pk, status=NodeStatus.RUNNING).first())
    assert services.stop_run(run.pk).status == Status.RUNNING
    stopped = ended(run.pk, timeout=3)
    assert stopped.status == Status.TERMINATED
    assert kinds(stopped) == ["run.queued", "run.started", "node.started", "node.terminated", "run.terminated"]
    node.refresh_from_db()
    assert (node.status, node.ended_at is not None) == (NodeStatus.TERMINATED, True)


def test_a_stopped_run_gives_the_thread_of_an_endless_generator_back(
    owner: User, another_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executions.engine.engine.BLOCK_THREADS", 1)
    engine = another_engine()
    endless = draw(
        owner,
        {"many": ("ProbeThread", {"times": 10**9}), "slow": ("ProbeRead", {"seconds": 60})},
        ["many.value -> slow.value"],
    )
    run = start(endless, owner, engine)
    # As many as its run takes up: from then on it waits for room.
    eventually(lambda: NodeOutput.objects.filter(run=run.pk).count() > 256)
    services.stop_run(run.pk)
    assert ended(run.pk).status == Status.TERMINATED
    next_one = start(draw(owner, {"one": ("ProbeThread", {"value": 1})}), owner, engine)
    assert ended(next_one.pk).status == Status.COMPLETED


def test_a_parked_run_ends_at_once_with_its_open_nodes(owner: User, engine: Engine) -> None:
    run = start(draw(owner, {"timer": ("CountdownTimer", {"hours": 1})}), owner, engine)
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.WAITING).exists())
    stopped = services.stop_run(run.pk)
    assert stopped.status == Status.TERMINATED
    assert kinds(stopped) == ["run.queued", "run.started", "node.waiting", "node.terminated", "run.terminated"]
    assert NodeExecution.objects.get(run=run.pk).status == NodeStatus.TERMINATED


def test_children_stop_with_their_parent(owner: User, engine: Engine, hold: Path) -> None:
    inner = draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold)})})
    run = start(draw(owner, {"call": calling(inner)}), owner, engine)
    child = eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.RUNNING).first())
    services.stop_run(run.pk)
    assert ended(run.pk, timeout=3).status == Status.TERMINATED
    assert ended(child.pk, timeout=3).status == Status.TERMINATED


def test_a_child_that_is_stopped_alone_is_an_error_of_its_parent(owner: User, engine: Engine, hold: Path) -> None:
    inner = draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold)})})
    run = start(draw(owner, {"call": calling(inner)}), owner, engine)
    child = eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.RUNNING).first())
    services.stop_run(child.pk)
    parent = ended(run.pk, timeout=5)
    assert parent.status == Status.COMPLETED
    message = f"The run {child.pk} of the graph {inner.id} ended as TERMINATED"
    assert NodeExecution.objects.get(run=run.pk).error == message


def test_stopping_an_ended_run_changes_nothing(owner: User, engine: Engine) -> None:
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1})}), owner, engine)
    before = ended(run.pk)
    after = services.stop_run(run.pk)
    assert (after.status, after.ended_at, after.head_seq) == (before.status, before.ended_at, before.head_seq)


def test_stopping_a_run_that_does_not_exist_is_refused(db: None) -> None:
    with pytest.raises(NoSuchRun):
        services.stop_run(uuid7())
