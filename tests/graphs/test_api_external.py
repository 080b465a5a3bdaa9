"""Blocks and graphs in the external API."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKeyPermission, User
from graphs.schemas import ExternalBlockModels, GraphMetas, GraphModel
from tests import make

ROOT = "/external-api/v1"
SECRET = "a secret of mine"


@pytest.fixture
def program(user: User) -> APIClient:
    """A program that may read the user's graphs and the blocks."""
    permissions = [ApiKeyPermission.READ_GRAPH, ApiKeyPermission.READ_BLOCK]
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_X_API_KEY=keys.create_key(user, "program", permissions)[1])
    return client


def a_drawing_with_secrets() -> dict[str, Any]:
    return make.a_drawing({"in": ("AgentInput", {"name": "who", "value": SECRET, "secret": True})})


def test_the_blocks_are_those_of_the_editor_without_prices(program: APIClient, api: APIClient) -> None:
    answer = program.get(f"{ROOT}/blocks")
    assert answer.status_code == 200
    ExternalBlockModels.model_validate(answer.json())
    assert answer.json() == [
        {key: value for key, value in block.items() if key != "costs"} for block in api.get("/api/blocks").json()
    ]
    assert "no-store" in answer["Cache-Control"]


def test_graphs_are_shown_without_secrets(program: APIClient, api: APIClient, user: User) -> None:
    graph = make.a_graph(user, a_drawing_with_secrets())
    assert SECRET in api.get(f"/api/graphs/{graph.graph_id}").content.decode()

    listed = program.get(f"{ROOT}/graphs")
    shown = program.get(f"{ROOT}/graphs/{graph.graph_id}")
    assert listed.status_code == shown.status_code == 200
    GraphMetas.model_validate(listed.json())
    GraphModel.model_validate(shown.json())
    assert [found["id"] for found in listed.json()] == [shown.json()["id"]] == [str(graph.graph_id)]
    assert (listed["X-Total-Items"], listed["X-Total-Pages"]) == ("1", "1")
    for answer in (listed, shown):
        assert SECRET not in answer.content.decode()
        assert str(user.pk) not in answer.content.decode()
    assert shown.json() == api.get(f"/api/graphs/{graph.graph_id}?for_export=true").json()


def test_a_program_reads_any_version(program: APIClient, api: APIClient, user: User) -> None:
    graph = make.a_graph(user, make.a_drawing(name="first"))
    api.put(f"/api/graphs/{graph.graph_id}", make.a_drawing(name="second"), format="json")
    place = f"{ROOT}/graphs/{graph.graph_id}"
    names = [program.get(place, query).json()["name"] for query in ({}, {"version": 1}, {"version": 2})]
    assert names == ["second", "first", "second"]
    absent = program.get(place, {"version": 3})
    assert (absent.status_code, absent.json()["code"]) == (404, "graph_not_found")
    assert program.get(place, {"version": "two"}).status_code == 422
    assert program.get(f"{ROOT}/graphs", {"page_size": 251}).status_code == 422


def test_a_program_changes_no_graph(program: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    before = json.dumps(program.get(f"{ROOT}/graphs/{graph.graph_id}").json())
    for method, path in (
        ("post", "graphs"),
        ("put", f"graphs/{graph.graph_id}"),
        ("delete", f"graphs/{graph.graph_id}"),
    ):
        assert getattr(program, method)(f"{ROOT}/{path}", make.a_drawing(), format="json").status_code == 405
    assert json.dumps(program.get(f"{ROOT}/graphs/{graph.graph_id}").json()) == before
