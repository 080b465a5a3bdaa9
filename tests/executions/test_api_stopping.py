"""Stopping and deleting runs over HTTP."""

from collections.abc import Callable
from uuid import uuid4

from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.kinds import Status
from executions.models import GraphExecution, NodeExecution
from tests import make
from tests.drawing import draw
from tests.executions.conftest import eventually

# Long enough to keep the worker's hands on the run, short enough not to park it.
UNDER_WAY = {"seconds": 0.9, "repeat": 50, "input_message": "tick"}


def test_a_queued_run_ends_at_once(api: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    run = make.a_run(user, graph.graph_id)
    answer = api.post(f"/api/graphs/{graph.graph_id}/executions/{run.pk}/stop")
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["status"]) == (str(run.pk), "TERMINATED")
    assert answer.json()["ended_at"]


def test_a_run_under_way_is_returned_once_it_has_ended(
    client_of: Callable[[User], APIClient], owner: User, engine: Engine
) -> None:
    graph = draw(owner, {"pause": ("CountdownTimer", UNDER_WAY)})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(lambda: NodeExecution.objects.filter(run=run).exists())
    answer = client_of(owner).post(f"/api/graphs/{graph.id}/executions/{run.pk}/stop")
    assert answer.json()["status"] == "TERMINATED"
    assert GraphExecution.objects.get(pk=run.pk).status == Status.TERMINATED


def test_a_run_that_has_ended_stays_as_it_is(api: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    run = make.a_run(user, graph.graph_id, status=Status.COMPLETED)
    answer = api.post(f"/api/graphs/{graph.graph_id}/executions/{run.pk}/stop")
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
    assert GraphExecution.objects.get(pk=run.pk).head_seq == run.head_seq


def test_a_deleted_run_is_gone_from_everywhere(api: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    run = make.a_run(user, graph.graph_id)
    assert api.delete(f"/api/executions/{run.pk}").status_code == 204
    address = f"/api/graphs/{graph.graph_id}/executions"
    assert api.get("/api/executions").json() == []
    assert api.get(address).json()["pagination"]["total_items"] == 0
    assert api.get(f"{address}/{run.pk}").status_code == 404
    assert api.post(f"{address}/{run.pk}/stop").status_code == 404
    assert api.delete(f"/api/executions/{run.pk}").status_code == 404
    assert GraphExecution.objects.get(pk=run.pk).status == Status.TERMINATED


def test_the_run_of_another_can_be_neither_stopped_nor_deleted(stranger: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    run = make.a_run(user, graph.graph_id)
    for run_id in (run.pk, uuid4()):
        for answer in (
            stranger.post(f"/api/graphs/{graph.graph_id}/executions/{run_id}/stop"),
            stranger.delete(f"/api/executions/{run_id}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "no_such_run")
    after = GraphExecution.objects.get(pk=run.pk)
    assert (after.status, after.is_deleted, after.head_seq) == (Status.QUEUED, False, 1)


def test_nobody_stops_or_deletes_nothing(anonymous: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    run = make.a_run(user, graph.graph_id)
    assert anonymous.post(f"/api/graphs/{graph.graph_id}/executions/{run.pk}/stop").status_code == 401
    assert anonymous.delete(f"/api/executions/{run.pk}").status_code == 401
    assert GraphExecution.objects.get(pk=run.pk).status == Status.QUEUED
