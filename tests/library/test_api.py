"""Presets over HTTP."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from graphs.models import GraphVersion
from graphs.schemas import GraphDraft
from graphs.services import save_version
from library import services
from library.models import Preset
from library.services import MAX_INPUT_BYTES
from tests import make

PRESETS = "/api/library/presets"
KEY = {"id": "c1", "provider": "github", "type": "api_key", "title": "mine"}


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """What presets are of: it needs `who`."""
    return make.a_graph(user)


def body(graph: GraphVersion, **changes: Any) -> dict[str, Any]:
    kept = {"name": "For Ann", "description": "", "inputs": {"who": "Ann"}, "credentials": {"key": KEY}}
    return {"graph_id": str(graph.graph_id), "graph_version": 1, **kept, **changes}


@pytest.fixture
def made(api: APIClient, graph: GraphVersion) -> dict[str, Any]:
    """A preset."""
    answer = api.post(PRESETS, body(graph), format="json")
    assert answer.status_code == 200, answer.json()
    return dict(answer.json())


def at(preset: dict[str, Any]) -> str:
    return f"{PRESETS}/{preset['id']}"


# --- Made -------------------------------------------------------------------------------------------------------


def test_a_preset_is_kept_and_told(api: APIClient, user: User, graph: GraphVersion, made: dict[str, Any]) -> None:
    preset = Preset.objects.get()
    assert made == {
        "id": str(preset.pk),
        "user_id": str(user.pk),
        "created_at": preset.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": preset.updated_at.isoformat().replace("+00:00", "Z"),
        "graph_id": str(graph.graph_id),
        "graph_version": 1,
        "name": "For Ann",
        "description": "",
        "inputs": {"who": "Ann"},
        "credentials": {"key": KEY},
        "is_active": True,
        "webhook_id": None,
        "webhook": None,
    }
    assert api.get(at(made)).json() == made


def test_a_preset_may_leave_inputs_to_whoever_runs_it(api: APIClient, graph: GraphVersion) -> None:
    answer = api.post(PRESETS, body(graph, inputs={}, is_active=False), format="json").json()

    assert (answer["inputs"], answer["is_active"]) == ({}, False)


def test_a_preset_keeps_what_a_run_was_started_with(api: APIClient, user: User, graph: GraphVersion) -> None:
    save_version(user, graph.graph_id, GraphDraft.model_validate(make.a_drawing()))
    values = {"inputs": {"who": "Bob"}, "credential_inputs": {"key": KEY}}
    run = make.a_run(user, graph.graph_id, 2, **values)

    asked = {"graph_execution_id": str(run.pk), "name": "again", "description": "as it was"}
    answer = api.post(PRESETS, asked, format="json")

    told = answer.json()
    assert answer.status_code == 200
    assert (told["graph_id"], told["graph_version"]) == (str(graph.graph_id), 2)
    assert (told["inputs"], told["credentials"]) == (values["inputs"], values["credential_inputs"])
    assert (told["name"], told["description"], told["is_active"]) == ("again", "as it was", True)


def test_a_run_whose_values_were_for_single_nodes_is_not_kept(api: APIClient, user: User, graph: GraphVersion) -> None:
    run = make.a_run(user, graph.graph_id, nodes_input_masks={str(uuid4()): {"payload": {}}})

    answer = api.post(PRESETS, {"graph_execution_id": str(run.pk), "name": "x", "description": ""}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "run_not_keepable")
    assert not Preset.objects.exists()


def test_what_is_not_there_or_not_ones_own_is_not_found(api: APIClient, user: User, graph: GraphVersion) -> None:
    other = make.a_user()
    theirs = make.a_graph(other)
    run = make.a_run(other, theirs.graph_id)
    deleted = make.a_run(user, graph.graph_id, is_deleted=True)
    of_run = {"name": "x", "description": ""}
    asked = [
        body(theirs),
        body(graph, graph_id=str(uuid4())),
        body(graph, graph_version=2),
        body(graph, webhook_id=str(uuid4())),
        *({**of_run, "graph_execution_id": str(run_id)} for run_id in (run.pk, deleted.pk, uuid4())),
    ]

    answers = [api.post(PRESETS, each, format="json") for each in asked]

    codes = ["graph_not_found"] * 3 + ["no_such_webhook"] + ["no_such_run"] * 3
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, code) for code in codes]
    assert not Preset.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status", "place"),
    [
        ({"name": ""}, 422, ["body", "name"]),
        ({"name": "x" * 201}, 422, ["body", "name"]),
        ({"description": "x" * 5001}, 422, ["body", "description"]),
        ({"graph_version": 0}, 422, ["body", "graph_version"]),
        ({"inputs": [1]}, 422, ["body", "inputs"]),
        ({"credentials": {"key": "sk-live-4711"}}, 422, ["body", "credentials", "key"]),
        ({"credentials": {"key": {"id": "c1", "provider": "github"}}}, 422, ["body", "credentials", "key", "type"]),
        ({"graph_execution_id": "01a20468-a0ca-7e9b-af5e-51c8f0778f74"}, 422, ["body", "graph_id"]),
        ({"inputs": {"who": "\0"}}, 422, None),
        ({"inputs": {"who": "x" * MAX_INPUT_BYTES}}, 400, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_kept(
    api: APIClient, graph: GraphVersion, changes: dict[str, Any], status: int, place: list[str] | None
) -> None:
    answer = api.post(PRESETS, body(graph, **changes), format="json")

    assert answer.status_code == status
    assert place is None or answer.json()["detail"][0]["loc"] == place
    assert not Preset.objects.exists()


def test_secrets_that_are_sent_with_a_placeholder_are_not_kept(api: APIClient, graph: GraphVersion) -> None:
    api.post(PRESETS, body(graph, credentials={"key": {**KEY, "api_key": "sk-live-4711"}}), format="json")

    assert Preset.objects.get().credentials == {"key": KEY}


def test_what_only_the_platform_decides_cannot_be_sent(api: APIClient, user: User, made: dict[str, Any]) -> None:
    other = make.a_user()
    sent = {"id": str(uuid4()), "user_id": str(other.pk), "user": str(other.pk), "is_deleted": True}
    sent |= {"graph_id": str(make.a_graph(other).graph_id), "webhook_id": str(uuid4()), "created_at": "2020-01-01"}
    before: dict[str, Any] = dict(Preset.objects.filter(pk=made["id"]).values().get())

    assert api.patch(at(made), sent, format="json").status_code == 200

    after: dict[str, Any] = dict(Preset.objects.filter(pk=made["id"]).values().get())
    assert {name for name in before if before[name] != after[name]} == {"updated_at"}


def test_a_graph_has_a_number_of_presets_at_most(
    api: APIClient, graph: GraphVersion, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_PRESETS_PER_GRAPH", 1)

    answer = api.post(PRESETS, body(graph), format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_presets")
    assert api.delete(at(made)).status_code == 204
    assert api.post(PRESETS, body(graph), format="json").status_code == 200


# --- Listed -----------------------------------------------------------------------------------------------------


def test_presets_are_listed_by_graph_or_all_newest_first(api: APIClient, user: User, graph: GraphVersion) -> None:
    other = make.a_graph(user)
    for name, of in (("a", graph), ("b", other), ("c", graph)):
        make.a_preset(user, of.graph_id, name=name)
    make.a_preset(user, graph.graph_id, name="deleted", is_deleted=True)
    stranger = make.a_user()
    make.a_preset(stranger, make.a_graph(stranger).graph_id, name="theirs")

    def names(query: str) -> list[str]:
        return [preset["name"] for preset in api.get(f"{PRESETS}?{query}").json()["presets"]]

    assert names("graph_id=") == ["c", "b", "a"]
    assert names(f"graph_id={graph.graph_id}") == ["c", "a"]
    assert names(f"graph_id={uuid4()}") == []
    page = api.get(f"{PRESETS}?graph_id=&page=2&page_size=2").json()
    assert [preset["name"] for preset in page["presets"]] == ["a"]
    assert page["pagination"] == {"total_items": 3, "total_pages": 2, "current_page": 2, "page_size": 2}


@pytest.mark.parametrize("query", ["", "graph_id=all", "graph_id=&page=0", "graph_id=&page_size=101"])
def test_a_list_of_what_cannot_be_is_refused(api: APIClient, query: str) -> None:
    assert api.get(f"{PRESETS}?{query}").status_code == 422


def test_a_list_takes_as_many_queries_whatever_its_length(api: APIClient, user: User, graph: GraphVersion) -> None:
    for _ in range(3):
        make.a_preset(user, graph.graph_id)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert len(api.get(f"{PRESETS}?graph_id=").json()["presets"]) == 3
    assert len(queries) == 1


# --- Changed and deleted ----------------------------------------------------------------------------------------


def test_what_is_named_is_changed_and_the_rest_stays(
    api: APIClient, user: User, graph: GraphVersion, made: dict[str, Any]
) -> None:
    save_version(user, graph.graph_id, GraphDraft.model_validate(make.a_drawing()))
    changes = {"name": "For Bob", "inputs": {"who": "Bob"}, "credentials": {}, "is_active": False, "graph_version": 2}

    answer = api.patch(at(made), changes, format="json")

    assert answer.status_code == 200
    told = answer.json()
    assert told == {**made, **changes, "updated_at": told["updated_at"]}
    assert told["updated_at"] > made["updated_at"]
    assert api.get(at(made)).json() == told
    assert api.patch(at(made), {}, format="json").json()["name"] == "For Bob"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"inputs": {}}, 422),
        ({"credentials": {}}, 422),
        ({"name": ""}, 422),
        ({"graph_version": 2}, 404),
        ({"inputs": {"who": "x" * MAX_INPUT_BYTES}, "credentials": {}}, 400),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_changes(
    api: APIClient, made: dict[str, Any], changes: dict[str, Any], status: int
) -> None:
    answer = api.patch(at(made), {"description": "another", **changes}, format="json")

    assert answer.status_code == status
    assert api.get(at(made)).json() == made


def test_inputs_without_credentials_are_refused_by_name(api: APIClient, made: dict[str, Any]) -> None:
    problem = api.patch(at(made), {"inputs": {}}, format="json").json()["detail"]

    message = "This field is required together with inputs."
    assert problem == [{"loc": ["body", "credentials"], "msg": message, "type": "invalid"}]


def test_a_deleted_preset_is_gone_for_everybody(api: APIClient, made: dict[str, Any]) -> None:
    answer = api.delete(at(made))

    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(f"{PRESETS}?graph_id=").json()["presets"] == []
    sent = {"name": "x"}
    again = [api.get(at(made)), api.patch(at(made), sent, format="json"), api.delete(at(made))]
    assert [(answer.status_code, answer.json()["code"]) for answer in again] == [(404, "no_such_preset")] * 3
    assert Preset.objects.get().name == "For Ann"


def test_others_neither_see_nor_change_a_preset(
    stranger: APIClient, anonymous: APIClient, made: dict[str, Any]
) -> None:
    sent = {"name": "mine"}
    for client, status in ((stranger, 404), (anonymous, 401)):
        tried = [client.get(at(made)), client.patch(at(made), sent, format="json"), client.delete(at(made))]
        assert [answer.status_code for answer in tried] == [status] * 3

    preset = Preset.objects.get()
    assert (preset.name, preset.is_deleted) == ("For Ann", False)
