"""Requests that no honest client sends, to every operation there is: fields that are not for clients, and odd pages."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from rest_framework.test import APIClient

from accounts.models import User
from executions.models import GraphExecution
from graphs.models import GraphVersion
from tests import make
from tests.core.test_api import built_schema
from tests.drawing import block_id

PLANTED_ID = "5eed5eed-0000-4000-8000-00005eed5eed"
PLANTED_TIME = "1999-12-31T23:59:58Z"
PLANTED_TEXT = "planted-4711"
PLANTED_NUMBER = 4711471147


@dataclass(frozen=True)
class World:
    """Somebody with a graph and a run, and somebody else to whom things could be given."""

    owner: User
    victim: User
    graph: GraphVersion
    run: GraphExecution

    def ids(self) -> dict[str, str]:
        """What stands for the variable parts of paths."""
        return {
            "graph_id": str(self.graph.graph_id),
            "graph_exec_id": str(self.run.pk),
            "graph_version": "1",
            "version": "1",
            "block_id": block_id("StoreValue"),
        }


@pytest.fixture
def world(db: None) -> World:
    owner = make.a_user()
    graph = make.a_graph(owner)
    run = make.a_run(owner, graph.graph_id, status="COMPLETED")
    return World(owner, make.a_user(), graph, run)


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    schema: dict[str, Any]

    def at(self, world: World) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: world.ids().get(found[1], PLANTED_ID), self.path)


def operations() -> Iterator[Operation]:
    for path, methods in built_schema()["paths"].items():
        for method, schema in methods.items():
            yield Operation(method, path, schema)


def client_of(world: World) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(world.owner)
    return client


# --- Fields that are not for clients ----------------------------------------------------------------------------


def extras(world: World) -> dict[str, Any]:
    """Every field of every model of ours, with a value that can be found again."""
    fields = {
        field.attname
        for model in apps.get_models()
        if model.__module__.split(".")[0] not in ("django", "django_celery_beat")
        for field in model._meta.concrete_fields
    }
    planted: dict[str, Any] = dict.fromkeys(fields, PLANTED_TEXT)
    planted |= {name: PLANTED_TIME for name in fields if name.endswith(("_at", "_until", "_used"))}
    planted |= {name: True for name in fields if name.startswith(("is_", "has_"))}
    planted |= dict.fromkeys(("balance", "amount", "cost", "credits", "seq", "head_seq"), PLANTED_NUMBER)
    planted |= dict.fromkeys(("id", "pk", "uuid"), PLANTED_ID)
    owners = ("user", "user_id", "owner", "owner_id", "tenant", "tenant_id", "acted_as_id")
    return planted | dict.fromkeys(owners, str(world.victim.pk)) | {"role": "admin", "status": "COMPLETED"}


def body_types(operation: Operation) -> set[str]:
    return set(operation.schema.get("requestBody", {}).get("content", {}))


def fields_of(operation: Operation) -> set[str]:
    """The fields that clients may send."""
    schema = operation.schema["requestBody"]["content"]["application/json"].get("schema", {})
    if "$ref" in schema:
        schema = built_schema()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return set(schema.get("properties", {}))


def body_for(operation: Operation, world: World) -> dict[str, Any]:
    """A body that the operation takes, as far as it can be had without knowing what it is for."""
    known: dict[str, dict[str, Any]] = {
        "log_in": {"email": world.owner.email, "password": make.PASSWORD},
        "register": {"email": "new@example.com", "password": "a long enough phrase", "name": "New"},
        "forgot_password": {"email": world.owner.email},
        "change_password": {"password": make.PASSWORD, "new_password": "another long phrase"},
        "set_timezone": {"timezone": "Europe/Zurich"},
        "set_preferences": {"email": world.owner.email, "preferences": {}, "daily_limit": 3},
        "create_api_key": {"name": "key", "permissions": ["IDENTITY"]},
        "create_graph": {"graph": make.a_drawing()},
        "save_graph_version": make.a_drawing(),
        "change_graph_settings": {"human_in_the_loop_safe_mode": False},
        "activate_graph_version": {"active_graph_version": 1},
        "execute_graph": {"inputs": {"who": "ann"}},
        "external_execute_graph": {"node_input": {"who": "ann"}},
        "execute_graph_batch": {"runs": [{"inputs": {"who": "ann"}}]},
        "create_schedule": {"name": "daily", "cron": "0 5 * * *", "inputs": {"who": "ann"}},
        "replay_execution": {"node_id": str(world.graph.nodes.all()[0].pk)},
    }
    return known.get(operation.schema["operationId"], {})


def planted_anywhere() -> list[str]:
    """The tables, but for drawings and inputs of people's own, in which something planted stands."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t')  # noqa: S608  a name from the database
            text = " ".join(row[0] for row in cursor.fetchall())
            signs = (PLANTED_ID, "1999-12-31", PLANTED_TEXT, str(PLANTED_NUMBER))
            found += [f"{table}: {sign}" for sign in signs if sign in text]
    return found


def belonging_to(victim: User) -> dict[str, int]:
    """How many rows of each table name the victim."""
    with connection.cursor() as cursor:
        counts = {}
        for table in connection.introspection.table_names():
            query = f'SELECT count(*) FROM "{table}" t WHERE to_jsonb(t)::text LIKE %s'  # noqa: S608  as above
            cursor.execute(query, [f"%{victim.pk}%"])
            counts[table] = cursor.fetchone()[0]
    return counts


def test_no_operation_takes_a_field_that_is_not_for_clients(world: World) -> None:
    writing = [each for each in operations() if "application/json" in body_types(each)]
    planted, before = extras(world), belonging_to(world.victim)
    accepted, wrong = [], []
    for operation in writing:
        honest = body_for(operation, world)
        body = {**{name: planted[name] for name in planted.keys() - fields_of(operation)}, **honest}
        if "graph" in honest:
            body["graph"] = {**planted, **honest["graph"]}
        with transaction.atomic():
            answer = client_of(world).generic(
                operation.method.upper(), operation.at(world), json.dumps(body), content_type="application/json"
            )
            found = planted_anywhere()
            owner = User.objects.get(pk=world.owner.pk)
            is_as_before = (
                owner.role == world.owner.role
                and owner.is_active
                and owner.email == world.owner.email
                and belonging_to(world.victim) == before
            )
            transaction.set_rollback(True)
        if answer.status_code in (500, 502) or found or not is_as_before:
            wrong.append((operation.schema["operationId"], answer.status_code, found))
        if answer.status_code < 300:
            accepted.append(operation.schema["operationId"])

    assert not wrong, "\n".join(map(str, wrong))
    assert len(writing) >= 25
    assert len(accepted) >= 15


def test_what_was_planted_would_be_found(world: World) -> None:
    assert planted_anywhere() == []

    make.a_user(name=PLANTED_TEXT)
    make.a_run(world.victim, world.graph.graph_id, pk=PLANTED_ID)

    assert planted_anywhere() == [f"accounts_user: {PLANTED_TEXT}", f"executions_graphexecution: {PLANTED_ID}"]


# --- Odd pages --------------------------------------------------------------------------------------------------

# An empty number counts as none at all, and so they are not among these.
NUMBERS = ["0", "-1", "1e9", "1000000000", "9" * 400, "NaN", "Infinity", "1.5", "0x10", "null"]
NUMBERS += ["1;--", "[]", "%00", "1,2"]
A_CURSOR = "AAEAAgAGVqQw0d6AAaIDD1I7fUa0k"
CURSORS = ["", "x", "=", "AAAA", A_CURSOR, "A" * 40, "A" * 4000, "../..", "%00", "{}", "null", "é"]


def test_pages_that_cannot_be_are_refused_by_every_list(world: World) -> None:
    client = client_of(world)
    asked, wrong = 0, []
    for operation in operations():
        names = {each["name"] for each in operation.schema.get("parameters", []) if each["in"] == "query"}
        sizes = [name for name in names if re.search(r"(^|_)(page|page_size|limit|offset|count)$", name)]
        if operation.method != "get" or not (sizes or "cursor" in names):
            continue
        tries = [(name, value) for name in sizes for value in NUMBERS if (name, value) != ("offset", "0")]
        tries += [("cursor", value) for value in CURSORS if "cursor" in names]
        for name, value in tries:
            with transaction.atomic():
                answer = client.get(operation.at(world), {name: value})
                transaction.set_rollback(True)
            asked += 1
            if not 400 <= answer.status_code < 500:
                wrong.append((operation.path, name, value[:20], answer.status_code))

    assert not wrong, "\n".join(map(str, wrong))
    assert asked > 200


def test_a_cursor_of_somebody_elses_list_shows_nothing_of_it(world: World) -> None:
    for _ in range(3):
        make.a_run(world.victim, make.a_graph(world.victim).graph_id)
    theirs = APIClient()
    theirs.force_authenticate(world.victim)
    cursor = theirs.get("/api/executions?page_size=1")["X-Next-Cursor"]

    shown = client_of(world).get("/api/executions", {"cursor": cursor})

    mine = {str(run.pk) for run in GraphExecution.objects.filter(user=world.owner)}
    assert shown.status_code == 200
    assert {run["id"] for run in shown.json()} <= mine


def test_every_changed_character_of_a_cursor_is_noticed_or_leads_to_nothing_foreign(world: World) -> None:
    for _ in range(3):
        make.a_run(world.owner, world.graph.graph_id)
    make.a_run(world.victim, make.a_graph(world.victim).graph_id)
    client = client_of(world)
    cursor = client.get("/api/executions?page_size=1")["X-Next-Cursor"]
    theirs = {str(run.pk) for run in GraphExecution.objects.filter(user=world.victim)}

    statuses = set()
    for place in range(len(cursor)):
        other = "A" if cursor[place] != "A" else "B"
        answer = client.get("/api/executions", {"cursor": cursor[:place] + other + cursor[place + 1 :]})
        statuses.add(answer.status_code)
        if answer.status_code == 200:
            assert theirs.isdisjoint(run["id"] for run in answer.json())

    assert statuses <= {200, 422}


# --- Kinds of bodies --------------------------------------------------------------------------------------------

OTHER_KINDS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
OTHER_KINDS += ["application/jsonp", "*/*", "application/*", ""]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_body_that_does_not_say_that_it_is_json_changes_nothing(world: World, kind: str) -> None:
    writing = [each for each in operations() if body_types(each) == {"application/json"}]
    before = belonging_to(world.owner)

    statuses = {}
    for operation in writing:
        body = json.dumps(body_for(operation, world))
        answer = client_of(world).generic(operation.method.upper(), operation.at(world), body, content_type=kind)
        statuses[operation.schema["operationId"]] = answer.status_code

    # Some look for what the path names, or who may do it, before they look at the body.
    assert {name: status for name, status in statuses.items() if status not in (403, 404, 415, 503)} == {}
    assert belonging_to(world.owner) == before
