"""Bad input is refused with the place named, and nothing is written."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from graphs.models import Graph
from tests import make


@pytest.fixture(autouse=True)
def _nothing_is_written(db: None) -> Iterator[None]:
    yield
    assert Graph.objects.count() == 0


def refused(api: APIClient, drawing: dict[str, Any], status: int = 400) -> dict[str, Any]:
    """The body of the refusal."""
    answer = api.post("/api/graphs", {"graph": drawing}, format="json")
    assert answer.status_code == status
    body: dict[str, Any] = answer.json()
    assert {"code", "message", "detail", "hint"} <= body.keys()
    return body


def test_an_unknown_block_is_named_with_its_node(api: APIClient) -> None:
    drawing = make.a_drawing()
    drawing["nodes"][1]["block_id"] = "00000000-0000-0000-0000-000000000000"
    body = refused(api, drawing)
    assert body["code"] == "graph_invalid"
    (problem,) = body["problems"]
    assert (problem["type"], problem["node_id"]) == ("unknown_block", "template")
    assert problem["message"] == "Node template: there is no block '00000000-0000-0000-0000-000000000000'"
    assert "715696a0-e1da-45c8-b209-c2fa9c3b0be6" in problem["allowed"]
    assert body["message"] == problem["message"] == body["detail"]


def test_a_dangling_link_is_named_with_the_nodes_there_are(api: APIClient) -> None:
    drawing = make.a_drawing()
    drawing["links"].append(make.a_link("template.output -> nowhere.value", "lost"))
    (problem,) = refused(api, drawing)["problems"]
    assert (problem["type"], problem["link_id"], problem["node_id"]) == ("dangling_link", "lost", "nowhere")
    assert problem["allowed"] == ["in", "template", "out"]


@pytest.mark.parametrize(
    ("link", "node", "pin", "allowed"),
    [
        ("template.text -> out.value", "template", "text", ["error", "output"]),
        ("template.output -> template.template", "template", "template", ["escape_html", "format", "values"]),
        ("in.error -> out.value", "in", "error", ["result"]),
        ("template.output -> template.value_#_who", "template", "value_#_who", ["escape_html", "format", "values"]),
    ],
)
def test_a_wrong_pin_is_named_with_the_pins_there_are(
    api: APIClient, link: str, node: str, pin: str, allowed: list[str]
) -> None:
    drawing = make.a_drawing()
    drawing["links"].append(make.a_link(link, "wrong"))
    (problem,) = refused(api, drawing)["problems"]
    assert problem["type"] == "wrong_pin"
    assert (problem["link_id"], problem["node_id"], problem["pin"]) == ("wrong", node, pin)
    assert problem["allowed"] == allowed


def test_every_flaw_is_told_at_once(api: APIClient) -> None:
    drawing = make.a_drawing()
    drawing["nodes"].append({**drawing["nodes"][0], "block_id": "no block"})
    drawing["links"] += [make.a_link("a.x -> b.y", "lost"), make.a_link("in.nothing -> out.value", "wrong")]
    body = refused(api, drawing)
    assert [problem["type"] for problem in body["problems"]] == [
        "duplicate_node",
        "dangling_link",
        "dangling_link",
        "wrong_pin",
    ]
    assert body["problem_count"] == 4
    assert body["message"] == "Two nodes have the id in (and 3 more)"


def test_of_many_flaws_the_first_hundred_are_listed(api: APIClient) -> None:
    links = [make.a_link("in.result -> nowhere.value", str(number)) for number in range(150)]
    body = refused(api, {**make.a_drawing(), "links": links})
    assert (len(body["problems"]), body["problem_count"]) == (100, 150)


def test_a_missing_required_input_is_named_with_its_node(api: APIClient) -> None:
    drawing = make.a_drawing({"in": ("AgentInput", {}), "out": ("AgentOutput", {"value": 1})})
    body = refused(api, drawing)
    assert body["node_errors"] == {
        "in": {"name": "This field is required"},
        "out": {"name": "This field is required"},
    }
    assert body["message"] == "Node in, name: This field is required (and 1 more)"


def test_a_flaw_in_a_sub_graph_counts_too(api: APIClient) -> None:
    sub = make.a_drawing({"sub-in": ("AgentInput", {})}, id="sub")
    body = refused(api, make.a_drawing(sub_graphs=[sub]))
    assert body["node_errors"] == {"sub-in": {"name": "This field is required"}}


@pytest.mark.parametrize(
    ("change", "place", "kind"),
    [
        ({"name": None}, ["name"], "string_type"),
        ({"name": ""}, ["name"], "string_too_short"),
        ({"version": "one"}, ["version"], "int_type"),
        ({"version": 0}, ["version"], "greater_than_equal"),
        ({"is_active": "yes"}, ["is_active"], "bool_type"),
        ({"nodes": {}}, ["nodes"], "list_type"),
        ({"nodes": [7]}, ["nodes", 0], "model_type"),
        ({"nodes": [{"id": "a"}]}, ["nodes", 0, "block_id"], "missing"),
        ({"nodes": [{"id": "a", "block_id": "b", "input_default": []}]}, ["nodes", 0, "input_default"], "dict_type"),
        ({"links": [{"source_id": "a"}]}, ["links", 0, "source_name"], "missing"),
        ({"forked_from_id": "x"}, ["forked_from_id"], "uuid_parsing"),
        ({"forked_from_version": 1}, [], "value_error"),
        ({"nodes": [{"block_id": "b"}] * 2001}, ["nodes"], "too_long"),
    ],
)
def test_wrong_types_are_named_with_their_place(
    api: APIClient, change: dict[str, Any], place: list[Any], kind: str
) -> None:
    body = refused(api, {**make.a_drawing(), **change}, 422)
    assert body["code"] == "request_invalid"
    first = body["detail"][0]
    assert (first["loc"], first["type"]) == (["body", "graph", *place], kind)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('{"graph": {', "json_invalid", "line 1 column 12"),
        ("", "missing", "Field required"),
        ("[]", "model_type", "Input should be an object"),
        ('{"graph": NaN}', "json_invalid", "line 1 column 11"),
        ('{"graph": "\\ud800"}', "json_invalid", "surrogate"),
        ('{"graph": {"name": "a\\u0000b"}}', "string_nul", "NUL"),
        ("[" * 70 + "]" * 70, "json_too_deep", "64"),
        ("[" * 100_000, "json_invalid", "line 1"),
        ("9" * 5000, "json_invalid", ""),
        (b"\xff\xfe", "json_invalid", "line 1"),
    ],
)
def test_malformed_json_is_refused_with_its_place(api: APIClient, text: str | bytes, kind: str, message: str) -> None:
    answer = api.post("/api/graphs", data=text, content_type="application/json")
    assert answer.status_code == 422
    first = answer.json()["detail"][0]
    assert first["type"] == kind
    assert message in first["msg"]


def test_a_body_of_twenty_megabytes_is_refused(api: APIClient) -> None:
    text = json.dumps({"graph": {**make.a_drawing(), "description": "x" * 20_000_000}})
    answer = api.post("/api/graphs", data=text, content_type="application/json")
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_a_body_that_hides_its_length_is_refused_too(api: APIClient) -> None:
    text = json.dumps({"graph": {**make.a_drawing(), "description": "x" * 20_000_000}})
    headers = {"Transfer-Encoding": "chunked"}
    answer = api.post("/api/graphs", data=text, content_type="application/json", CONTENT_LENGTH="", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


def test_another_media_type_is_refused(api: APIClient) -> None:
    answer = api.post("/api/graphs", data="graph=1", content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"
    assert answer.json()["hint"] == "Send the body with `Content-Type: application/json`."


@pytest.mark.parametrize("path", ["/api/graphs/not-an-id", "/api/graphs/1/versions", "/api/nothing"])
def test_a_path_that_leads_nowhere_is_answered_in_the_one_shape(api: APIClient, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert path in answer.json()["message"]


def test_a_version_number_beyond_the_database_is_not_found(api: APIClient, user: User) -> None:
    url = "/api/graphs/01980000-0000-7000-8000-000000000000"
    assert api.get(f"{url}/versions/99999999999").status_code == 404
    assert api.get(f"{url}?version=99999999999").status_code == 404
    wrong = api.get(f"{url}?version=first&for_export=perhaps")
    assert wrong.status_code == 422
    assert [problem["loc"] for problem in wrong.json()["detail"]] == [["query", "for_export"], ["query", "version"]]


def test_a_method_that_a_path_does_not_have_is_refused(api: APIClient) -> None:
    answer = api.delete("/api/graphs")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert answer.json()["hint"] == "This path takes GET, POST, HEAD, OPTIONS."
