"""How far behind the sweepers are said to be."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from config.doctor import _runs
from executions.kinds import Status
from executions.models import GraphExecution, NodeTask
from executions.overdue import overdue
from tests import make


def test_nothing_is_overdue_where_nothing_waits(user: User) -> None:
    make.a_run(user, make.a_graph(user).graph_id, status=Status.COMPLETED, ended_at=timezone.now())
    assert overdue() == []


@pytest.mark.parametrize(
    ("rule", "status", "column"),
    [
        ("queued", Status.QUEUED, "queued_at"),
        ("lapsed", Status.RUNNING, "lease_until"),
        ("due", Status.WAITING, "wake_at"),
        ("due", Status.REVIEW, "wake_at"),
    ],
)
def test_the_oldest_run_of_each_rule_is_named(user: User, rule: str, status: Status, column: str) -> None:
    graph_id = make.a_graph(user).graph_id
    old, young, future = (make.a_run(user, graph_id, status=status) for _ in range(3))
    for run, age in ((old, 100), (young, 10), (future, -100)):
        GraphExecution.objects.filter(pk=run.pk).update(**{column: timezone.now() - timedelta(seconds=age)})
    [found] = overdue()
    assert (found.rule, found.run_id) == (rule, old.pk)
    assert 100 <= found.seconds < 160


def test_a_child_whose_parent_has_ended_is_overdue(user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    past = timezone.now() - timedelta(seconds=100)
    parent = make.a_run(user, graph_id, status=Status.FAILED, ended_at=past)
    child = make.a_run(user, graph_id, status=Status.WAITING, parent=parent)
    [found] = overdue()
    assert (found.rule, found.run_id) == ("orphaned", child.pk)


def test_an_isolated_block_that_no_worker_takes_is_overdue(user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    runs = [make.a_run(user, graph_id, status=Status.WAITING) for _ in range(2)]
    past, future = (timezone.now() + timedelta(seconds=seconds) for seconds in (-100, 100))
    asked = [
        NodeTask.objects.create(id=uuid4(), run=run, node_execution_id=uuid4(), turn=0, context={}, asked_at=past)
        for run in runs
    ]
    [found] = overdue()
    assert (found.rule, found.run_id in {run.pk for run in runs}) == ("isolated", True)
    NodeTask.objects.filter(pk=asked[0].pk).update(lease_until=future)
    assert overdue() == []


@pytest.mark.parametrize("name", ["RUNS_PER_USER", "RUNS_PER_GRAPH"])
def test_a_run_that_waits_for_a_place_is_not_overdue(user: User, settings: Settings, name: str) -> None:
    setattr(settings, name, 1)
    graph_id = make.a_graph(user).graph_id
    make.a_run(user, graph_id, status=Status.RUNNING, lease_until=timezone.now() + timedelta(seconds=60))
    make.a_run(user, graph_id, status=Status.QUEUED, queued_at=timezone.now() - timedelta(hours=1))
    assert overdue() == []


def test_a_run_that_is_left_to_other_workers_is_not_overdue(user: User) -> None:
    past = timezone.now() - timedelta(hours=1)
    make.a_run(user, make.a_graph(user).graph_id, status=Status.QUEUED, queued_at=past, left_since=past)
    assert overdue() == []


def test_the_doctor_finds_runs_ill_that_wait_for_long(owner: User) -> None:
    assert (_runs().ok, _runs().message) == (True, "none waits for a worker")
    run = make.a_run(owner, make.a_graph(owner).graph_id, status=Status.QUEUED)
    assert _runs().ok
    GraphExecution.objects.update(queued_at=timezone.now() - timedelta(seconds=100))
    ill = _runs()
    assert not ill.ok
    assert ill.message.startswith("queued for 1")
    assert ill.message.endswith(str(run.pk))
    assert "Start a worker" in ill.cure
