"""Runs in the external API: started by a program, polled until they end."""

from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKeyPermission, User
from executions.engine.engine import Engine
from executions.kinds import Status
from executions.models import GraphExecution
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended

ROOT = "/external-api/v1/graphs"


def program_of(user: User) -> APIClient:
    """A program that may run the user's graphs and read the results."""
    permissions = [ApiKeyPermission.READ_GRAPH, ApiKeyPermission.EXECUTE_GRAPH]
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_X_API_KEY=keys.create_key(user, "program", permissions)[1])
    return client


@pytest.fixture
def program(user: User) -> APIClient:
    """A program of `user`."""
    return program_of(user)


def add_two(owner: User) -> Drawn:
    """A graph that adds two to a `number` and gives the `sum`, and the number as `seen`."""
    return draw(
        owner,
        {
            "in": ("AgentInput", {"name": "number"}),
            "add": ("Calculator", {"operation": "Add", "b": 2}),
            "sum": ("AgentOutput", {"name": "sum"}),
            "seen": ("AgentOutput", {"name": "seen"}),
        },
        ["in.result -> add.a", "add.result -> sum.value", "in.result -> seen.value"],
    )


def start(program: APIClient, graph: Drawn, body: Any, **headers: str) -> Any:
    return program.post(f"{ROOT}/{graph.id}/execute/{graph.version}", body, format="json", headers=headers)


def results(program: APIClient, graph: Drawn, run_id: object, **query: Any) -> Any:
    return program.get(f"{ROOT}/{graph.id}/executions/{run_id}/results", query)


def test_a_program_starts_a_run_and_gets_its_results(owner: User, engine: Engine) -> None:
    program, graph = program_of(owner), add_two(owner)
    answer = start(program, graph, {"node_input": {"number": 40}})
    assert (answer.status_code, answer.json().keys()) == (200, {"id"})
    run = GraphExecution.objects.get()
    assert answer.json()["id"] == str(run.pk)
    assert (run.user_id, run.graph_id, run.graph_version, run.inputs) == (owner.pk, graph.id, 1, {"number": 40})

    engine.ring([run.pk])
    ended(run.pk, 10)
    body = results(program, graph, run.pk).json()
    assert body["nodes"][0] == {
        "node_id": str(graph.nodes["in"]),
        "input": {"name": "number", "value": 40},
        "output": {"result": [40]},
    }
    assert {
        "node_id": str(graph.nodes["add"]),
        "input": {"operation": "Add", "a": 40, "b": 2},
        "output": {"result": [42]},
    } in body["nodes"]
    assert sorted(body["output"], key=str) == [{"seen": 40}, {"sum": 42}]
    del body["nodes"], body["output"]
    assert body == {
        "execution_id": str(run.pk),
        "status": "COMPLETED",
        "error": None,
        "truncated": False,
        "node_pagination": {"total_items": 4, "total_pages": 1, "current_page": 1, "page_size": 1000},
    }


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.FAILED, Status.TERMINATED])
def test_until_a_run_is_complete_it_has_no_output(program: APIClient, user: User, status: Status) -> None:
    graph = add_two(user)
    run = make.a_run(user, graph.id, status=status, error="It broke." if status is Status.FAILED else "")
    make.an_activation(run, graph.nodes["sum"], "AgentOutput", input_data={"name": "sum", "value": 42})
    body = results(program, graph, run.pk).json()
    assert (body["status"], body["output"], len(body["nodes"])) == (status.wire, None, 1)
    assert body["error"] == ("It broke." if status is Status.FAILED else None)


def test_activations_come_in_pages(program: APIClient, user: User) -> None:
    graph = add_two(user)
    run = make.a_run(user, graph.id)
    for number in range(3):
        make.an_activation(run, graph.nodes["in"], "AgentInput", input_data={"value": number}, ordinal=number)
    pages = [results(program, graph, run.pk, node_page=page, node_page_size=2).json()["nodes"] for page in (1, 2)]
    assert [[node["input"]["value"] for node in page] for page in pages] == [[1, 2], [0]]
    assert results(program, graph, run.pk, node_page_size=1001).status_code == 422


def test_the_same_key_starts_one_run(program: APIClient, api: APIClient, user: User) -> None:
    graph = add_two(user)
    first, again = (start(program, graph, {"node_input": {"number": 1}}, **{"Idempotency-Key": "a"}) for _ in range(2))
    assert first.json() == again.json()
    other = start(program, graph, {"node_input": {"number": 2}}, **{"Idempotency-Key": "a"})
    assert (other.status_code, other.json()["code"], other.json()["run_id"]) == (409, "key_reused", first.json()["id"])
    assert GraphExecution.objects.count() == 1


@pytest.mark.parametrize("body", [{}, {"node_input": {}}, {"node_input": {"wrong": 1}}])
def test_a_run_without_what_it_needs_is_refused(program: APIClient, user: User, body: Any) -> None:
    graph = add_two(user)
    answer = start(program, graph, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "not_runnable")
    assert list(answer.json()["detail"]["node_errors"]) == [str(graph.nodes["in"])]
    assert GraphExecution.objects.count() == 0


@pytest.mark.parametrize("body", ["", "null", "{}"])
def test_a_graph_without_required_inputs_needs_no_body(program: APIClient, user: User, body: str) -> None:
    graph = draw(user, {"in": ("AgentInput", {"name": "who", "value": "World"})})
    answer = program.generic("POST", f"{ROOT}/{graph.id}/execute/1", body, content_type="application/json")
    assert answer.status_code == 200
    assert GraphExecution.objects.get().inputs == {}


@pytest.mark.parametrize("body", [[], "text", {"node_input": []}, {"node_input": None}])
def test_a_request_of_another_shape_is_refused(program: APIClient, user: User, body: Any) -> None:
    answer = start(program, add_two(user), body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert GraphExecution.objects.count() == 0


def test_a_run_is_found_below_its_own_graph_only(program: APIClient, user: User) -> None:
    graph, other = add_two(user), add_two(user)
    run = make.a_run(user, graph.id)
    assert results(program, graph, run.pk).status_code == 200
    assert results(program, other, run.pk).status_code == 404
    assert results(program, graph, uuid4()).status_code == 404
    GraphExecution.objects.update(is_deleted=True)
    assert results(program, graph, run.pk).status_code == 404
    assert program.post(f"{ROOT}/{graph.id}/execute/2", {"node_input": {"number": 1}}, format="json").status_code == 404
