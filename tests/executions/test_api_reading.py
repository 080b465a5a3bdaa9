"""Listing and reading runs over HTTP."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution
from graphs.models import GraphVersion
from tests import make
from tests.drawing import draw
from tests.executions.conftest import Run

Queries = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """Whose runs are read."""
    return make.a_graph(user)


def node_of(graph: GraphVersion, name: str) -> Any:
    """The node that an input or output is called `name` by."""
    return next(node.pk for node in graph.nodes.all() if node.input_default.get("name") == name)


def test_a_finished_run_shows_its_inputs_outputs_and_activations(
    client_of: Callable[[User], APIClient], owner: User, run: Run
) -> None:
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "number"}),
            "add": ("Calculator", {"operation": "Add", "b": 2}),
            "out": ("AgentOutput", {"name": "sum"}),
        },
        ["in.result -> add.a", "add.result -> out.value"],
    )
    ended = run(graph, number=40)
    body = client_of(owner).get(f"/api/graphs/{graph.id}/executions/{ended.pk}").json()
    assert body["status"] == "COMPLETED"
    assert body["inputs"] == {"number": 40}
    assert body["outputs"] == {"sum": [42.0]}
    assert body["seq"] == 6
    assert body["stats"]["node_exec_count"] == 3
    assert body["stats"]["node_error_count"] == 0
    assert body["node_pagination"] == {"total_items": 3, "total_pages": 1, "current_page": 1, "page_size": 1000}
    first, second, third = body["node_executions"]
    assert [first["node_id"], second["node_id"], third["node_id"]] == [
        str(graph.nodes[name]) for name in ("in", "add", "out")
    ]
    assert second == {
        "user_id": str(owner.pk),
        "graph_id": str(graph.id),
        "graph_version": 1,
        "graph_exec_id": str(ended.pk),
        "node_exec_id": second["node_exec_id"],
        "node_id": str(graph.nodes["add"]),
        "block_id": second["block_id"],
        "status": "COMPLETED",
        "input_data": {"operation": "Add", "a": 40, "b": 2},
        "output_data": {"result": [42.0]},
        "add_time": second["start_time"],
        "queue_time": second["start_time"],
        "start_time": second["start_time"],
        "end_time": second["end_time"],
        "output_count": 1,
        "waiting": False,
        "truncated": False,
    }
    assert second["start_time"] <= second["end_time"]
    assert third["output_data"] == {"output": [42.0], "name": ["sum"]}


def test_a_failed_node_shows_its_message(client_of: Callable[[User], APIClient], owner: User, run: Run) -> None:
    graph = draw(owner, {"add": ("Calculator", {"operation": "Divide", "a": 1, "b": 0})})
    ended = run(graph)
    body = client_of(owner).get(f"/api/graphs/{graph.id}/executions/{ended.pk}").json()
    (node,) = body["node_executions"]
    assert node["status"] == "FAILED"
    assert list(node["output_data"]) == ["error"]
    assert body["stats"]["node_error_count"] == 1
    assert body["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("status", "shown", "waiting"),
    [
        (Status.QUEUED, "QUEUED", False),
        (Status.WAITING, "RUNNING", True),
        (Status.REVIEW, "REVIEW", False),
        (Status.FAILED, "FAILED", False),
    ],
)
def test_a_parked_run_shows_as_running_and_waiting(
    api: APIClient, user: User, graph: GraphVersion, status: Status, shown: str, waiting: bool
) -> None:
    make.a_run(user, graph.graph_id, status=status, error="broken", error_code="crash_loop")
    (body,) = api.get("/api/executions").json()
    assert (body["status"], body["waiting"]) == (shown, waiting)
    assert (body["error"], body["error_code"], body["stats"]["error"]) == ("broken", "crash_loop", "broken")


def test_runs_are_listed_newest_first_in_pages(api: APIClient, user: User, graph: GraphVersion) -> None:
    now = timezone.now()
    runs = [make.a_run(user, graph.graph_id, created_at=now - timedelta(minutes=age)) for age in range(5)]
    make.a_run(user, make.a_graph(user).graph_id)
    address = f"/api/graphs/{graph.graph_id}/executions"
    pages = [api.get(address, {"page": page, "page_size": 2}).json() for page in (1, 2, 3, 4)]
    assert [[run["id"] for run in page["executions"]] for page in pages] == [
        [str(runs[0].pk), str(runs[1].pk)],
        [str(runs[2].pk), str(runs[3].pk)],
        [str(runs[4].pk)],
        [],
    ]
    assert pages[1]["pagination"].pop("next_cursor")
    assert pages[1]["pagination"] == {"total_items": 5, "total_pages": 3, "current_page": 2, "page_size": 2}
    assert api.get(address).json()["pagination"]["page_size"] == 25
    assert len(api.get("/api/executions").json()) == 6


@pytest.mark.parametrize("query", [{"page": 0}, {"page_size": 101}, {"page_size": 0}, {"page": "two"}])
def test_a_page_that_cannot_be_is_refused(api: APIClient, graph: GraphVersion, query: dict[str, Any]) -> None:
    answer = api.get(f"/api/graphs/{graph.graph_id}/executions", query)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", next(iter(query))]


def test_the_newest_250_runs_are_listed(api: APIClient, user: User, graph: GraphVersion) -> None:
    GraphExecution.objects.bulk_create(
        GraphExecution(
            user=user, graph_id=graph.graph_id, graph_version=1, inputs={}, credential_inputs={}, nodes_input_masks={}
        )
        for _ in range(251)
    )
    answer = api.get("/api/executions")
    assert len(answer.json()) == 250
    assert (answer.headers["X-Total-Items"], answer.headers["X-Total-Pages"]) == ("251", "2")
    assert len(api.get("/api/executions", {"page": 2}).json()) == 1
    assert api.get("/api/executions", {"page_size": 251}).status_code == 422


def test_lists_show_long_values_cut_and_the_detail_has_them_whole(
    api: APIClient, user: User, graph: GraphVersion, django_assert_num_queries: Queries
) -> None:
    inputs = {"who": "x" * 100_000, "short": "y"}
    run = make.a_run(user, graph.graph_id, inputs=inputs)
    with django_assert_num_queries(1):
        (listed,) = api.get("/api/executions").json()
    assert listed["truncated"] is True
    assert listed["inputs"]["short"] == "y"
    assert len(listed["inputs"]["who"]) < 4000
    assert " characters left out " in listed["inputs"]["who"]
    detail = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}").json()
    assert detail["inputs"] == inputs
    assert detail["truncated"] is False


def test_activations_come_in_pages_of_the_newest_oldest_first(
    api: APIClient, user: User, graph: GraphVersion, django_assert_num_queries: Queries
) -> None:
    run = make.a_run(user, graph.graph_id)
    node_id = node_of(graph, "who")
    now = timezone.now()
    made = [
        make.an_activation(run, node_id, "AgentInput", [("result", number)], ordinal=number, started_at=started_at)
        for number in range(5)
        for started_at in [now + timedelta(seconds=number)]
    ]
    address = f"/api/graphs/{graph.graph_id}/executions/{run.pk}"
    with django_assert_num_queries(6):
        pages = [api.get(address, {"node_page": page, "node_page_size": 2}).json() for page in (1,)]
    pages += [api.get(address, {"node_page": page, "node_page_size": 2}).json() for page in (2, 3, 4)]
    assert [[node["node_exec_id"] for node in page["node_executions"]] for page in pages] == [
        [str(made[3].pk), str(made[4].pk)],
        [str(made[1].pk), str(made[2].pk)],
        [str(made[0].pk)],
        [],
    ]
    assert pages[0]["node_pagination"] == {"total_items": 5, "total_pages": 3, "current_page": 1, "page_size": 2}
    assert pages[0]["node_executions"][1]["output_data"] == {"result": [4]}


def test_reading_a_run_takes_the_same_queries_however_many_activations_it_has(
    api: APIClient, user: User, graph: GraphVersion, django_assert_num_queries: Queries
) -> None:
    run = make.a_run(user, graph.graph_id)
    for number in range(20):
        make.an_activation(run, node_of(graph, "who"), "AgentInput", [("result", number)], ordinal=number)
    with django_assert_num_queries(5):
        body = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}").json()
    assert len(body["node_executions"]) == 20


def test_an_activation_that_gave_very_much_shows_its_first_thousand_outputs_and_says_so(
    api: APIClient, user: User, graph: GraphVersion
) -> None:
    run = make.a_run(user, graph.graph_id)
    make.an_activation(run, node_of(graph, "who"), "AgentInput", [("result", number) for number in range(1001)])
    (node,) = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}").json()["node_executions"]
    assert node["output_data"] == {"result": list(range(1000))}
    assert (node["output_count"], node["truncated"]) == (1001, True)


def test_values_beyond_the_budget_of_one_answer_are_cut(
    api: APIClient, user: User, graph: GraphVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make.a_run(user, graph.graph_id)
    mega = "m" * 6_000_000
    for number in range(4):
        make.an_activation(
            run,
            node_of(graph, "who"),
            "AgentInput",
            [("result", mega)],
            ordinal=number,
            started_at=timezone.now() + timedelta(seconds=number),
            input_data={"name": "who", "value": mega},
        )
    answer = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}")
    assert len(answer.content) < 26_000_000
    nodes = answer.json()["node_executions"]
    assert [len(node["input_data"]["value"]) == len(mega) for node in nodes] == [False, False, True, True]
    assert [node["input_data"]["name"] for node in nodes] == ["who"] * 4
    assert sum(len(node["output_data"]["result"][0]) == len(mega) for node in nodes) == 2
    assert [node["truncated"] for node in nodes[:2]] == [True, True]


def test_only_completed_output_nodes_make_outputs(api: APIClient, user: User, graph: GraphVersion) -> None:
    run = make.a_run(user, graph.graph_id)
    node_id = node_of(graph, "shout")
    now = timezone.now()
    for ordinal, (status, value) in enumerate([("COMPLETED", "a"), ("FAILED", "b"), ("COMPLETED", None)]):
        make.an_activation(
            run,
            node_id,
            "AgentOutput",
            ordinal=ordinal,
            status=NodeStatus(status),
            input_data={"name": "shout", "value": value},
            ended_at=now + timedelta(seconds=ordinal),
        )
    make.an_activation(run, node_of(graph, "who"), "AgentInput", input_data={"name": "who", "value": 1})
    body = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}").json()
    assert body["outputs"] == {"shout": ["a", None]}


def test_of_very_many_outputs_the_newest_are_shown(api: APIClient, user: User, graph: GraphVersion) -> None:
    run = make.a_run(user, graph.graph_id)
    now = timezone.now()
    for number in range(1001):
        make.an_activation(
            run,
            node_of(graph, "shout"),
            "AgentOutput",
            ordinal=number,
            input_data={"name": "shout", "value": number},
            ended_at=now + timedelta(seconds=number),
        )
    body = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}").json()
    assert body["outputs"] == {"shout": list(range(1, 1001))}
    assert body["truncated"] is True


@pytest.mark.parametrize("query", [{"node_page": 0}, {"node_page_size": 1001}, {"node_page": "x"}])
def test_a_page_of_activations_that_cannot_be_is_refused(
    api: APIClient, user: User, graph: GraphVersion, query: dict[str, Any]
) -> None:
    run = make.a_run(user, graph.graph_id)
    answer = api.get(f"/api/graphs/{graph.graph_id}/executions/{run.pk}", query)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", next(iter(query))]


def test_the_run_of_another_is_as_absent_as_one_that_is_not_there(
    api: APIClient, stranger: APIClient, user: User, graph: GraphVersion
) -> None:
    run = make.a_run(user, graph.graph_id)
    elsewhere = make.a_graph(user).graph_id
    address = f"/api/graphs/{graph.graph_id}/executions"
    answers = [
        stranger.get(f"{address}/{run.pk}"),
        stranger.get(f"{address}/{uuid4()}"),
        api.get(f"/api/graphs/{elsewhere}/executions/{run.pk}"),
        api.get(f"{address}/nonsense"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert {answer.json()["code"] for answer in answers[:3]} == {"no_such_run"}
    assert stranger.get("/api/executions").json() == []
    assert stranger.get(address).json()["executions"] == []


def test_nobody_reads_nothing(anonymous: APIClient, user: User, graph: GraphVersion) -> None:
    run = make.a_run(user, graph.graph_id)
    address = f"/api/graphs/{graph.graph_id}/executions"
    for path in ("/api/executions", address, f"{address}/{run.pk}"):
        assert anonymous.get(path).status_code == 401
