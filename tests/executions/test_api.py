"""Starting runs over HTTP."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from executions.models import Event, GraphExecution
from graphs.models import GraphVersion
from tests import make


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """A graph with one required input, `who`."""
    return make.a_graph(user)


def address(graph: GraphVersion, version: int = 1) -> str:
    return f"/api/graphs/{graph.graph_id}/execute/{version}"


def the_input_node(graph: GraphVersion) -> str:
    return next(str(node.pk) for node in graph.nodes.all() if node.input_default.get("name") == "who")


def test_a_run_is_queued_and_returned_at_once(api: APIClient, user: User, graph: GraphVersion) -> None:
    answer = api.post(address(graph), {"inputs": {"who": "World"}}, format="json")
    assert answer.status_code == 200
    body = answer.json()
    run = GraphExecution.objects.get()
    assert body == {
        "id": str(run.pk),
        "user_id": str(user.pk),
        "graph_id": str(graph.graph_id),
        "graph_version": 1,
        "inputs": {"who": "World"},
        "credential_inputs": {},
        "nodes_input_masks": {},
        "preset_id": None,
        "is_dry_run": False,
        "source_run_id": None,
        "source_node_id": None,
        "status": "QUEUED",
        "started_at": None,
        "ended_at": None,
        "is_shared": False,
        "share_token": None,
        "stats": {
            "cost": 0,
            "duration": 0.0,
            "duration_cpu_only": 0.0,
            "node_exec_time": 0.0,
            "node_exec_time_cpu_only": 0.0,
            "node_exec_count": 0,
            "node_error_count": 0,
            "error": None,
            "activity_status": None,
            "correctness_score": None,
        },
        "seq": 1,
        "error": None,
        "error_code": None,
        "waiting": False,
        "truncated": False,
    }
    assert list(Event.objects.values_list("run_id", "seq", "kind")) == [(run.pk, 1, "run.queued")]


@pytest.mark.parametrize("body", ["", "null", "{}"])
def test_a_graph_without_required_inputs_needs_no_body(api: APIClient, user: User, body: str) -> None:
    drawing = make.a_drawing({"in": ("AgentInput", {"name": "who", "value": "World"})})
    graph = make.a_graph(user, drawing)
    answer = api.generic("POST", address(graph), body, content_type="application/json")
    assert answer.status_code == 200
    assert answer.json()["inputs"] == {}


def test_inputs_that_the_graph_does_not_have_are_ignored(api: APIClient, graph: GraphVersion) -> None:
    inputs = {"who": "World", "colour": "red"}
    answer = api.post(address(graph), {"inputs": inputs}, format="json")
    assert answer.status_code == 200
    assert answer.json()["inputs"] == inputs


def test_a_null_counts_as_given(api: APIClient, graph: GraphVersion) -> None:
    assert api.post(address(graph), {"inputs": {"who": None}}, format="json").status_code == 200


def test_a_missing_input_is_named_and_nothing_is_started(api: APIClient, graph: GraphVersion) -> None:
    answer = api.post(address(graph), {"inputs": {"Who": "World"}}, format="json")
    assert answer.status_code == 400
    fault = 'This input is required: give "who" in inputs'
    node_id = the_input_node(graph)
    assert answer.json()["message"] == f"The graph cannot run with these inputs. Node {node_id}, value: {fault}"
    assert answer.json()["detail"] == {
        "type": "validation_error",
        "message": answer.json()["message"],
        "node_errors": {node_id: {"value": fault}},
    }
    assert not GraphExecution.objects.exists()
    assert not Event.objects.exists()


def test_a_value_that_an_input_does_not_take_is_named_and_nothing_is_started(api: APIClient, user: User) -> None:
    graph = make.a_graph(user, make.a_drawing({"in": ("AgentNumberInput", {"name": "count"})}))
    answer = api.post(address(graph), {"inputs": {"count": "many"}}, format="json")
    assert answer.status_code == 400
    ((node_id, fields),) = answer.json()["detail"]["node_errors"].items()
    assert node_id == str(graph.nodes.get().pk)
    assert list(fields) == ["value"]
    assert '"count"' in fields["value"]
    assert "'many'" in fields["value"]
    assert not GraphExecution.objects.exists()


def test_a_value_that_an_input_can_convert_is_taken(api: APIClient, user: User) -> None:
    graph = make.a_graph(user, make.a_drawing({"in": ("AgentNumberInput", {"name": "count"})}))
    assert api.post(address(graph), {"inputs": {"count": "12.9"}}, format="json").status_code == 200


def test_every_wrong_input_is_named_at_once(api: APIClient, user: User) -> None:
    drawing = make.a_drawing(
        {
            "who": ("AgentInput", {"name": "who"}),
            "count": ("AgentNumberInput", {"name": "count"}),
            "fine": ("AgentInput", {"name": "fine", "value": 1}),
        }
    )
    graph = make.a_graph(user, drawing)
    answer = api.post(address(graph), {"inputs": {"count": "many"}}, format="json")
    names = {str(node.pk): node.input_default["name"] for node in graph.nodes.all()}
    assert {names[node_id] for node_id in answer.json()["detail"]["node_errors"]} == {"who", "count"}
    assert answer.json()["message"].endswith(" (and 1 more)")


def test_of_two_inputs_with_one_name_the_last_decides_whether_it_is_required(api: APIClient, user: User) -> None:
    drawing = make.a_drawing(
        {"first": ("AgentInput", {"name": "who"}), "last": ("AgentInput", {"name": "who", "value": "World"})}
    )
    assert api.post(address(make.a_graph(user, drawing))).status_code == 200


def test_a_graph_in_which_nothing_would_start_is_refused(api: APIClient, user: User) -> None:
    drawing = make.a_drawing(
        {"a": ("AddToList", {"entry": 1}), "b": ("AddToList", {"entry": 2})},
        ["a.updated_list -> b.list", "b.updated_list -> a.list"],
    )
    graph = make.a_graph(user, drawing)
    answer = api.post(address(graph))
    assert answer.status_code == 400
    (message,) = answer.json()["detail"]["node_errors"][str(graph.graph_id)].values()
    assert message.startswith("Nothing would start")
    assert not GraphExecution.objects.exists()


def test_the_same_key_starts_one_run(api: APIClient, graph: GraphVersion) -> None:
    answers = [
        api.post(address(graph), {"inputs": {"who": "World"}}, format="json", headers={"Idempotency-Key": "k 1"})
        for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert GraphExecution.objects.get().trigger_key == "api:k 1"


def test_other_keys_and_other_users_start_other_runs(
    api: APIClient, client_of: Callable[[User], APIClient], graph: GraphVersion
) -> None:
    other = make.a_user()
    starts = [(api, graph, "one"), (api, graph, "two"), (client_of(other), make.a_graph(other), "one")]
    for client, target, key in starts:
        answer = client.post(
            address(target), {"inputs": {"who": "World"}}, format="json", headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 200
    assert GraphExecution.objects.count() == 3


def test_a_key_that_started_another_graph_is_refused(api: APIClient, user: User, graph: GraphVersion) -> None:
    key = {"Idempotency-Key": "once"}
    first = api.post(address(graph), {"inputs": {"who": "World"}}, format="json", headers=key)
    second = api.post(address(make.a_graph(user)), {"inputs": {"who": "World"}}, format="json", headers=key)
    assert second.status_code == 409
    assert second.json()["code"] == "key_reused"
    assert second.json()["run_id"] == first.json()["id"]
    assert GraphExecution.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [{"inputs": {"who": "Moon"}}, {"node_budget": 5}, {"dry_run": True}, {"inputs": {"who": "World", "more": None}}],
)
def test_a_key_that_started_a_run_with_another_body_is_refused(
    api: APIClient, graph: GraphVersion, change: dict[str, object]
) -> None:
    key = {"Idempotency-Key": "once"}
    body = {"inputs": {"who": "World"}}
    first = api.post(address(graph), body, format="json", headers=key)
    other = api.post(address(graph), {**body, **change}, format="json", headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    assert other.json()["run_id"] == first.json()["id"]
    assert api.post(address(graph), body, format="json", headers=key).json() == first.json()
    assert GraphExecution.objects.get().inputs == {"who": "World"}


def test_a_dry_run_says_so(api: APIClient, graph: GraphVersion) -> None:
    run = api.post(address(graph), {"inputs": {"who": "World"}, "dry_run": True}, format="json").json()
    assert run["is_dry_run"] is True
    assert GraphExecution.objects.get().is_dry_run
    (listed,) = api.get("/api/executions").json()
    assert listed["is_dry_run"] is True


@pytest.mark.parametrize("key", ["", "x" * 191, "naïve", "tab\there"])
def test_a_key_that_cannot_be_stored_is_refused(api: APIClient, graph: GraphVersion, key: str) -> None:
    answer = api.post(address(graph), {"inputs": {"who": "World"}}, format="json", headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert not GraphExecution.objects.exists()


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "body"),
        ({"inputs": ["World"]}, "body.inputs"),
        ({"inputs": None}, "body.inputs"),
        ({"credentials_inputs": {"a": {"id": "1"}}}, "body.credentials_inputs.a.provider"),
        ({"source": "elsewhere"}, "body.source"),
        ({"dry_run": "perhaps"}, "body.dry_run"),
        *[({"max_credits": amount}, "body.max_credits") for amount in ("30", "1_000", 30.0, 1.5, True)],
    ],
)
def test_a_body_of_another_shape_is_refused(api: APIClient, graph: GraphVersion, body: object, place: str) -> None:
    answer = api.post(address(graph), body, format="json")
    assert answer.status_code == 422
    assert ".".join(answer.json()["detail"][0]["loc"]) == place
    assert not GraphExecution.objects.exists()


@pytest.mark.parametrize("version", [2, 0, 2**31, 10**30])
def test_a_version_that_does_not_exist_is_not_found(api: APIClient, graph: GraphVersion, version: int) -> None:
    answer = api.post(address(graph, version), {"inputs": {"who": "World"}}, format="json")
    assert answer.status_code == 404
    assert answer.json()["code"] == "graph_not_found"


def test_the_graph_of_another_is_as_absent_as_one_that_is_not_there(
    api: APIClient, stranger: APIClient, graph: GraphVersion
) -> None:
    answers = [
        stranger.post(f"/api/graphs/{graph_id}/execute/1", {"inputs": {"who": "World"}}, format="json")
        for graph_id in (graph.graph_id, uuid4())
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["code"] == answers[1].json()["code"] == "graph_not_found"
    assert not GraphExecution.objects.exists()


def test_nobody_starts_nothing(anonymous: APIClient, graph: GraphVersion) -> None:
    assert anonymous.post(address(graph), {"inputs": {"who": "World"}}, format="json").status_code == 401
    assert not GraphExecution.objects.exists()


def test_starting_a_run_takes_few_queries(
    api: APIClient, graph: GraphVersion, django_assert_max_num_queries: object
) -> None:
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        api.post(address(graph), {"inputs": {"who": "World"}}, format="json")
