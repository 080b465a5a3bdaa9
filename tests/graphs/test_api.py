"""Graphs over REST: what owners can do, and that nobody else can."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from graphs.models import Graph, GraphVersion, Link, Node
from graphs.schemas import BlockModels, GraphMetas, GraphModel, GraphModels
from tests import make

Operation = Callable[[APIClient, str], Any]

OPERATIONS: dict[str, Operation] = {
    "get": lambda api, graph: api.get(f"/api/graphs/{graph}"),
    "export": lambda api, graph: api.get(f"/api/graphs/{graph}?for_export=true"),
    "save": lambda api, graph: api.put(f"/api/graphs/{graph}", make.a_drawing(), format="json"),
    "delete": lambda api, graph: api.delete(f"/api/graphs/{graph}"),
    "versions": lambda api, graph: api.get(f"/api/graphs/{graph}/versions"),
    "version": lambda api, graph: api.get(f"/api/graphs/{graph}/versions/1"),
    "activate": lambda api, graph: api.put(
        f"/api/graphs/{graph}/versions/active", {"active_graph_version": 1}, format="json"
    ),
    "settings": lambda api, graph: api.patch(f"/api/graphs/{graph}/settings", {}, format="json"),
}


def rows() -> tuple[int, ...]:
    """How many rows there are of everything."""
    return tuple(model.objects.count() for model in (Graph, GraphVersion, Node, Link))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_the_owner_reaches_a_graph(
    operation: str, user: User, api: APIClient, stranger: APIClient, anonymous: APIClient
) -> None:
    graph = str(make.a_graph(user).graph_id)
    before = rows()

    assert OPERATIONS[operation](anonymous, graph).status_code == 401
    foreign = OPERATIONS[operation](stranger, graph)
    absent = OPERATIONS[operation](api, str(uuid4()))
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.json()["code"] == absent.json()["code"] == "graph_not_found"
    assert rows() == before

    assert OPERATIONS[operation](api, graph).status_code == 200


def test_nobody_lists_or_creates_graphs_without_a_token(anonymous: APIClient) -> None:
    assert anonymous.get("/api/graphs").status_code == 401
    assert anonymous.get("/api/blocks").status_code == 401
    answer = anonymous.post("/api/graphs", {"graph": make.a_drawing()}, format="json")
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"
    assert "POST /api/auth/token" in answer.json()["hint"]
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert rows() == (0, 0, 0, 0)


def test_a_created_graph_comes_back_with_ids_of_its_own(api: APIClient, user: User) -> None:
    created = api.post("/api/graphs", {"graph": make.a_drawing(id="mine"), "source": "builder"}, format="json")
    assert created.status_code == 200
    graph = GraphModel.model_validate(created.json())
    assert [node.input_default.get("name") for node in graph.nodes] == ["who", None, "shout"]
    assert (graph.version, graph.is_active, graph.user_id) == (1, True, str(user.pk))
    names = {node.id: place for place, node in enumerate(graph.nodes)}
    assert [(names[link.source_id], names[link.sink_id], link.is_static) for link in graph.links] == [
        (0, 1, True),  # the outputs of an input block are always static
        (1, 2, False),
    ]
    assert graph.nodes[1].input_links == [graph.links[0]]
    assert graph.nodes[1].output_links == [graph.links[1]]
    assert graph.input_schema == {
        "type": "object",
        "properties": {"who": {"title": "who", "secret": False, "advanced": False}},
        "required": ["who"],
    }
    assert list(graph.output_schema["properties"]) == ["shout"]
    assert api.get(f"/api/graphs/{graph.id}").json() == created.json()


def test_saving_makes_the_next_version_the_active_one(api: APIClient, user: User) -> None:
    graph = api.post("/api/graphs", {"graph": make.a_drawing()}, format="json").json()
    saved = api.put(f"/api/graphs/{graph['id']}", {**graph, "name": "renamed"}, format="json")
    assert saved.status_code == 200
    assert (saved.json()["id"], saved.json()["version"], saved.json()["name"]) == (graph["id"], 2, "renamed")
    assert {node["id"] for node in saved.json()["nodes"]}.isdisjoint(node["id"] for node in graph["nodes"])

    listed = api.get(f"/api/graphs/{graph['id']}/versions").json()
    GraphModels.model_validate(listed)
    assert [(row["version"], row["is_active"]) for row in listed] == [(2, True), (1, False)]
    first = api.get(f"/api/graphs/{graph['id']}/versions/1").json()
    assert first == api.get(f"/api/graphs/{graph['id']}?version=1").json() == {**graph, "is_active": False}


def test_an_inactive_version_leaves_the_active_one_alone(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    saved = api.put(f"/api/graphs/{graph_id}", make.a_drawing(is_active=False), format="json").json()
    assert (saved["version"], saved["is_active"]) == (2, False)
    assert api.get(f"/api/graphs/{graph_id}").json()["version"] == 2
    assert [row["version"] for row in api.get("/api/graphs").json()] == [1]


def test_another_version_can_be_made_active(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    api.put(f"/api/graphs/{graph_id}", make.a_drawing(), format="json")
    url = f"/api/graphs/{graph_id}/versions/active"
    answer = api.put(url, {"active_graph_version": 1}, format="json")
    assert (answer.status_code, answer.json()) == (200, None)
    assert Graph.objects.get().active_version == 1
    missing = api.put(url, {"active_graph_version": 3}, format="json")
    assert missing.status_code == 404
    assert missing.json()["message"] == f"There is no version 3 of graph {graph_id}, or it is not yours"
    assert Graph.objects.get().active_version == 1


def test_what_is_named_in_the_settings_changes_and_the_rest_stays(api: APIClient, user: User) -> None:
    url = f"/api/graphs/{make.a_graph(user).graph_id}/settings"
    for changes, human, sensitive in (
        ({}, True, False),
        ({"sensitive_action_safe_mode": True}, True, True),
        ({"human_in_the_loop_safe_mode": False, "sensitive_action_safe_mode": None}, False, True),
    ):
        answer = api.patch(url, changes, format="json")
        shown = {"human_in_the_loop_safe_mode": human, "sensitive_action_safe_mode": sensitive}
        assert (answer.status_code, answer.json()) == (200, shown)
        graph = Graph.objects.get()
        assert (graph.human_in_the_loop_safe_mode, graph.sensitive_action_safe_mode) == (human, sensitive)
    refused = api.patch(url, {"human_in_the_loop_safe_mode": "yes", "sensitive_action_safe_mode": False}, format="json")
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "human_in_the_loop_safe_mode"])
    graph = Graph.objects.get()
    assert (graph.human_in_the_loop_safe_mode, graph.sensitive_action_safe_mode) == (False, True)


def test_another_graphs_id_in_the_body_is_refused(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    before = rows()
    answer = api.put(f"/api/graphs/{graph_id}", make.a_drawing(id=str(uuid4())), format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "graph_id_mismatch")
    assert rows() == before


def test_deleting_removes_every_version(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    api.put(f"/api/graphs/{graph_id}", make.a_drawing(), format="json")
    answer = api.delete(f"/api/graphs/{graph_id}")
    assert (answer.status_code, answer.json()) == (200, {"version_counts": 2})
    assert rows() == (0, 0, 0, 0)
    assert api.delete(f"/api/graphs/{graph_id}").status_code == 404


def test_the_list_shows_active_graphs_last_changed_first(api: APIClient, user: User) -> None:
    first = make.a_graph(user, make.a_drawing(name="first"))
    make.a_graph(user, make.a_drawing(name="second"))
    make.a_graph(user, make.a_drawing(name="draft", is_active=False))
    make.a_graph(make.a_user(), make.a_drawing(name="another's"))
    api.put(f"/api/graphs/{first.graph_id}", make.a_drawing(name="first again"), format="json")

    listed = api.get("/api/graphs")
    GraphMetas.model_validate(listed.json())
    assert [row["name"] for row in listed.json()] == ["first again", "second"]
    assert {"nodes", "links", "created_at"}.isdisjoint(listed.json()[0])
    assert listed["X-Total-Items"] == "2"


def test_the_list_can_be_turned_page_by_page(api: APIClient, user: User) -> None:
    for name in "abc":
        make.a_graph(user, make.a_drawing(name=name))
    page = api.get("/api/graphs?page=2&page_size=2")
    assert [row["name"] for row in page.json()] == ["a"]
    assert (page["X-Total-Items"], page["X-Total-Pages"], page["X-Current-Page"], page["X-Page-Size"]) == tuple("3222")
    refused = api.get("/api/graphs?page=0&page_size=251")
    assert refused.status_code == 422
    assert [problem["loc"] for problem in refused.json()["detail"]] == [["query", "page"], ["query", "page_size"]]


@pytest.mark.parametrize("graphs", [1, 5])
def test_the_list_takes_as_many_queries_for_many_graphs_as_for_one(graphs: int, api: APIClient, user: User) -> None:
    for _ in range(graphs):
        make.a_graph(user)
    with CaptureQueriesContext(connection) as queries:
        first = api.get("/api/graphs")
    assert len(queries) == 3  # what the tag is made of, the versions with their graphs, the nodes
    with CaptureQueriesContext(connection) as queries:
        again = api.get("/api/graphs")
    assert len(queries) == 2  # versions never change: what their nodes say of them is known
    assert again.json() == first.json()


def test_what_the_list_shows_of_a_graph_that_calls_others_is_found_out_each_time(api: APIClient, user: User) -> None:
    inner = make.a_graph(user)
    make.a_graph(user, make.a_drawing({"call": make.an_agent(str(inner.graph_id))}))
    counts = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            api.get("/api/graphs")
        counts.append(len(queries))
    # Those for the nodes of the one that calls, and for the one that is called with its nodes and links.
    assert counts == [6, 6, 6]


def test_a_version_is_read_in_three_queries(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    with CaptureQueriesContext(connection) as queries:
        api.get(f"/api/graphs/{graph_id}")
    assert len(queries) == 3


def test_an_export_is_imported_unchanged_under_new_ids(api: APIClient, user: User, stranger: APIClient) -> None:
    graph_id = make.a_graph(user).graph_id
    exported = api.get(f"/api/graphs/{graph_id}?for_export=true").json()
    assert exported["user_id"] == ""
    imported = stranger.post("/api/graphs", {"graph": exported, "source": "upload"}, format="json")
    assert imported.status_code == 200
    assert imported.json()["id"] != str(graph_id)
    for key in ("name", "description", "input_schema", "output_schema"):
        assert imported.json()[key] == exported[key]
    assert [node["input_default"] for node in imported.json()["nodes"]] == [
        node["input_default"] for node in exported["nodes"]
    ]


def test_the_catalogue_has_every_block_with_its_pins(api: APIClient) -> None:
    answer = api.get("/api/blocks")
    blocks = {block.id: block for block in BlockModels.model_validate(answer.json()).root}
    condition = blocks["715696a0-e1da-45c8-b209-c2fa9c3b0be6"]
    assert set(condition.inputSchema["required"]) == {"value1", "operator", "value2"}
    assert (condition.uiType, condition.staticOutput) == ("Standard", False)
    assert answer["Cache-Control"] == "private, max-age=300"
