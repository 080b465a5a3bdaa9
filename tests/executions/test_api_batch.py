"""Starting many runs at once over HTTP."""

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from executions.models import Event, GraphExecution
from executions.queue import RUNS_PER_DOORBELL
from graphs.models import GraphVersion
from tests import make


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """A graph with one required input, `who`."""
    return make.a_graph(user)


def address(graph: GraphVersion, version: int = 1) -> str:
    return f"/api/graphs/{graph.graph_id}/execute-batch/{version}"


def greeting(who: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": {"who": who}, **more}


def send(client: APIClient, graph: GraphVersion, *runs: object, key: str | None = None) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(address(graph), {"runs": runs}, format="json", headers=headers)


def rows() -> dict[str, int]:
    return {"runs": GraphExecution.objects.count(), "events": Event.objects.count()}


def test_every_run_of_a_batch_is_a_run_of_its_own(api: APIClient, graph: GraphVersion) -> None:
    answer = send(
        api, graph, greeting("A"), greeting("B", node_budget=7, timeout_seconds=60), greeting("C", dry_run=True)
    )
    assert answer.status_code == 200
    told = answer.json()["executions"]
    assert [(run["inputs"], run["status"], run["seq"], run["is_dry_run"]) for run in told] == [
        ({"who": "A"}, "QUEUED", 1, False),
        ({"who": "B"}, "QUEUED", 1, False),
        ({"who": "C"}, "QUEUED", 1, True),
    ]
    runs = {str(run.pk): run for run in GraphExecution.objects.all()}
    assert [runs[run["id"]].node_budget for run in told] == [100_000, 7, 100_000]
    assert [runs[run["id"]].deadline_at is None for run in told] == [True, False, True]
    events = Event.objects.values_list("run_id", "seq", "kind")
    assert sorted(events) == sorted((UUID(run["id"]), 1, "run.queued") for run in told)
    for run in told:
        detail = api.get(f"/api/graphs/{graph.graph_id}/executions/{run['id']}").json()
        assert {name: detail[name] for name in run} == run


def test_a_batch_has_the_shape_of_a_start(api: APIClient, graph: GraphVersion) -> None:
    (batched,) = send(api, graph, greeting("A")).json()["executions"]
    alone = api.post(f"/api/graphs/{graph.graph_id}/execute/1", greeting("A"), format="json").json()
    assert {**batched, "id": ""} == {**alone, "id": ""}


@pytest.mark.django_db(transaction=True)
def test_a_batch_rings_once_for_many_runs(settings: Settings, client_of: Any) -> None:
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.delete("runs")
    user = make.a_user()
    graph = make.a_graph(user)
    answer = send(client_of(user), graph, *[greeting(number) for number in range(2 * RUNS_PER_DOORBELL + 1)])
    ids = [run["id"] for run in answer.json()["executions"]]
    bodies = [json.loads(base64.b64decode(json.loads(raw)["body"])) for raw in broker.lrange("runs", 0, -1)]
    broker.delete("runs")
    rung = [arguments["run_ids"] for _, arguments, _ in reversed(bodies)]
    assert [len(chunk) for chunk in rung] == [RUNS_PER_DOORBELL, RUNS_PER_DOORBELL, 1]
    assert sorted(run_id for chunk in rung for run_id in chunk) == sorted(ids)


def test_a_batch_takes_as_many_queries_as_one_run(
    api: APIClient, graph: GraphVersion, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(9):
        assert send(api, graph, *[greeting(number) for number in range(100)]).status_code == 200


def test_one_run_that_cannot_start_keeps_all_from_starting(api: APIClient, graph: GraphVersion) -> None:
    answer = send(api, graph, greeting("A"), {"inputs": {"Who": "B"}}, greeting("C"))
    assert answer.status_code == 400
    body = answer.json()
    node_id = next(str(node.pk) for node in graph.nodes.all() if node.input_default.get("name") == "who")
    fault = 'This input is required: give "who" in inputs'
    assert (body["code"], body["run_index"]) == ("refused_in_batch", 1)
    assert body["message"] == f"Run 1: The graph cannot run with these inputs. Node {node_id}, value: {fault}"
    assert body["detail"]["node_errors"] == {node_id: {"value": fault}}
    assert rows() == {"runs": 0, "events": 0}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "body.runs"),
        ([], "body"),
        ({"runs": []}, "body.runs"),
        ({"runs": [{}] * 1001}, "body.runs"),
        ({"runs": [greeting("A"), "B"]}, "body.runs.1"),
        ({"runs": [greeting("A"), {"inputs": []}]}, "body.runs.1.inputs"),
        ({"runs": [greeting("A", idempotency_key="")]}, "body.runs.0.idempotency_key"),
        ({"runs": [greeting("A", idempotency_key="naïve")]}, "body.runs.0.idempotency_key"),
        ({"runs": [greeting("A", node_budget=0)]}, "body.runs.0.node_budget"),
    ],
)
def test_a_body_of_another_shape_is_refused(api: APIClient, graph: GraphVersion, body: object, place: str) -> None:
    answer = api.post(address(graph), body, format="json")
    assert answer.status_code == 422
    assert ".".join(str(part) for part in answer.json()["detail"][0]["loc"]) == place
    assert rows() == {"runs": 0, "events": 0}


def test_the_same_key_starts_one_batch(api: APIClient, graph: GraphVersion) -> None:
    answers = [send(api, graph, greeting("A"), greeting("B"), key="k" * 190) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert [run["inputs"]["who"] for run in answers[0].json()["executions"]] == ["A", "B"]
    assert rows() == {"runs": 2, "events": 2}


@pytest.mark.parametrize("runs", [["A"], ["A", "C"], ["B", "A"], ["A", "B", "C"]])
def test_a_key_that_started_another_batch_is_refused(api: APIClient, graph: GraphVersion, runs: list[str]) -> None:
    first = send(api, graph, greeting("A"), greeting("B"), key="k").json()["executions"][0]
    answer = send(api, graph, *map(greeting, runs), key="k")
    assert (answer.status_code, answer.json()["code"], answer.json()["run_id"]) == (409, "key_reused", first["id"])
    assert rows() == {"runs": 2, "events": 2}


def test_a_run_with_a_key_of_its_own_is_the_one_that_the_key_started_alone(api: APIClient, graph: GraphVersion) -> None:
    alone = api.post(
        f"/api/graphs/{graph.graph_id}/execute/1", greeting("A"), format="json", headers={"Idempotency-Key": "a"}
    ).json()
    runs = [greeting("A", idempotency_key="a"), greeting("B", idempotency_key="b"), greeting("B", idempotency_key="b")]
    one, two, same = send(api, graph, *runs).json()["executions"]
    assert one == alone
    assert two == same
    assert rows() == {"runs": 2, "events": 2}


def test_a_reused_key_within_a_batch_takes_back_what_was_started_beside_it(api: APIClient, graph: GraphVersion) -> None:
    send(api, graph, greeting("A", idempotency_key="a"))
    for runs in (
        [greeting("new"), greeting("B", idempotency_key="a")],
        [greeting("X", idempotency_key="x"), greeting("Y", idempotency_key="x")],
    ):
        answer = send(api, graph, *runs)
        assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")
    assert rows() == {"runs": 1, "events": 1}


def test_the_graph_of_another_is_as_absent_as_one_that_is_not_there(
    api: APIClient, stranger: APIClient, anonymous: APIClient, graph: GraphVersion
) -> None:
    body = {"runs": [greeting("A")]}
    answers = [
        stranger.post(address(graph), body, format="json"),
        api.post(f"/api/graphs/{uuid4()}/execute-batch/1", body, format="json"),
        api.post(address(graph, 2), body, format="json"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "graph_not_found")] * 3
    assert anonymous.post(address(graph), body, format="json").status_code == 401
    assert rows() == {"runs": 0, "events": 0}
