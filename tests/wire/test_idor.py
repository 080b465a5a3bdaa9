"""Nobody reaches what is somebody else's: every operation, and every place in it where an id goes, by everybody.

The operations are those of `openapi.yaml`. A place for an id that has no fixture here fails the test.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, ApiKeyPermission, Role, User
from builder.models import Search
from core.ids import uuid7
from credits.models import TopUp, TopUpKind, TopUpStatus
from executions import schedules, sharing
from executions.kinds import NodeStatus
from executions.models import NodeExecution, Review
from executions.schedules import ScheduleRequest
from files.models import State, StoredFile
from graphs.models import Node
from integrations.kinds import Event
from integrations.models import Webhook
from integrations.services import keep
from notifications.kinds import Kind
from notifications.models import Notification
from tests import make
from tests.drawing import block_id

SPEC: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text())
CANARY = "canary-4711"
# Path parameters that are no ids of anybody's things; a share token opens what its owner gave away, by purpose.
NO_IDS = {"graph_version": "1", "version": "1", "share_token": str(uuid4()), "provider": "generic_webhook"}
# Places of ids in bodies that are only written down, never looked up.
NOT_LOOKED_UP = {"forked_from_id"}
# A stream would have to be read to its end, and a mail needs an address of its own.
QUERIES: Mapping[str, dict[str, str]] = {"get_execution_events": {"format": "json"}}
# What is sent here is an address that its owner gives away, so that whoever has it finds it; it shows nothing.
GIVEN_AWAY = {"receive_delivery"}
# What these two do to the caller alone would end the sweep.
LEFT_OUT = {"log_out", "change_password"}
TABLES = [
    model._meta.db_table
    for model in apps.get_models()
    if model.__module__.partition(".")[0] not in ("django", "django_celery_beat")
]
_ROWS = " UNION ALL ".join(f"SELECT '{table} ' || t::text FROM {table} t" for table in TABLES)  # noqa: S608  ours


# --- What there is ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Somebody with one of each thing, each with a mark in it; `ids` by the name of the place where they go."""

    owner: User
    ids: Mapping[str, str]


def a_world(mark: str) -> World:
    owner = make.a_user(f"{mark}@example.com", name=mark)
    graph = make.a_graph(owner, make.a_drawing(name=mark, description=mark))
    inputs = {"who": mark}
    run = make.a_run(owner, graph.graph_id, inputs=inputs, status="COMPLETED", node_error_count=1)
    waiting = make.a_run(owner, graph.graph_id, inputs=inputs, status="REVIEW", started_at=timezone.now())
    node_id = Node.objects.filter(graph_version=graph).order_by("position")[1].pk
    make.an_activation(run, node_id, "FillTextTemplate", [("output", mark)], input_data={"value": mark})
    asking = NodeExecution.objects.create(
        run=waiting,
        node_id=node_id,
        block_id=block_id("HumanInTheLoop"),
        ordinal=0,
        status=NodeStatus.REVIEW,
        input_data={"value": mark},
        started_fence=1,
        started_at=timezone.now(),
    )
    review = Review.objects.create(
        run=waiting,
        root_id=waiting.pk,
        node_execution=asking,
        turn=0,
        user=owner,
        graph_id=graph.graph_id,
        graph_version=1,
        node_id=node_id,
        payload={"value": mark},
        instructions=mark,
        editable=True,
    )
    sharing.share(run.pk, by=run.user_id)
    schedule = schedules.create_schedule(
        owner,
        graph.graph_id,
        ScheduleRequest(name=mark, cron="0 9 * * *", inputs=inputs, credential_inputs={}, zone="UTC"),
    )
    key, _ = keys.create_key(owner, mark, list(ApiKeyPermission))
    file = StoredFile.objects.create(
        user=owner,
        name=f"{mark}.txt",
        media_type="text/plain",
        size=4,
        state=State.STORED,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    search = Search.objects.create(user=owner, query=mark)
    webhook = Webhook.objects.create(
        user=owner, provider="generic_webhook", webhook_type="plain", resource=mark, secret=mark
    )
    preset = make.a_preset(owner, graph.graph_id, name=mark, inputs=inputs, webhook=webhook)
    notification = Notification.objects.create(
        user=owner, kind=Kind.LOW_BALANCE, key=mark, data={"balance": 1, "below": 2, "of": mark}
    )
    # So large that a person would have to agree to its refund, which therefore asks nobody outside.
    bought = TopUp.objects.create(
        user=owner,
        kind=TopUpKind.CHECKOUT,
        status=TopUpStatus.PAID,
        amount=100_000,
        paid=100_000,
        paid_at=timezone.now(),
        payment_id=mark,
    )
    keep(webhook, Event(mark, None, b"{}"))
    return World(
        owner,
        {
            "graph_id": str(graph.graph_id),
            "graph_exec_id": str(run.pk),
            "graph_execution_id": str(run.pk),
            "with": str(run.pk),
            "node_id": str(node_id),
            "node_exec_id": str(asking.pk),
            "review_id": str(review.pk),
            "schedule_id": str(schedule.pk),
            "key_id": str(key.pk),
            "file_id": str(file.pk),
            "search_id": str(search.pk),
            "transaction_key": bought.key,
            "preset_id": str(preset.pk),
            "notification_id": str(notification.pk),
            "webhook_id": str(webhook.pk),
            "user_id": str(owner.pk),
            "block_id": block_id("Calculator"),
        },
    )


# --- What can be asked ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """One operation of the document, and the places in it where ids go."""

    method: str
    path: str
    spec: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.spec["operationId"])

    @property
    def places(self) -> list[str]:
        return [*self.in_path, *self.in_query, *self.in_body]

    @property
    def in_path(self) -> list[str]:
        return [name for name in re.findall(r"{(\w+)}", self.path) if name not in NO_IDS and name != "block_id"]

    @property
    def in_query(self) -> list[str]:
        found = [each for each in self.spec.get("parameters", ()) if each["in"] == "query"]
        return [each["name"] for each in found if each["schema"].get("format") == "uuid"]

    @property
    def in_body(self) -> list[str]:
        body = self.spec.get("requestBody", {}).get("content", {}).get("application/json", {})
        return sorted(set(_id_names(body.get("schema", {}))) - NOT_LOOKED_UP)

    @property
    def is_for_programs(self) -> bool:
        return self.path.startswith("/external-api/")

    @property
    def is_for_administrators(self) -> bool:
        return "/admin/" in self.path


def _id_names(schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Iterator[str]:
    if depth > 12:
        return
    if "$ref" in schema:
        yield from _id_names(SPEC["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name, depth + 1)
    if schema.get("format") == "uuid":
        yield name
    for each in (part for key in ("oneOf", "anyOf", "allOf") for part in schema.get(key, ())):
        yield from _id_names(each, name, depth + 1)
    for key, inside in schema.get("properties", {}).items():
        yield from _id_names(inside, key, depth + 1)
    if isinstance(schema.get("items"), Mapping):
        yield from _id_names(schema["items"], name, depth + 1)


OPERATIONS = [
    Operation(method.upper(), path, spec)
    for path, methods in SPEC["paths"].items()
    for method, spec in methods.items()
    if spec["operationId"] not in LEFT_OUT
]


def ask(client: APIClient, operation: Operation, ids: Mapping[str, str]) -> Any:
    """Send what the document gives as an example, with these ids."""
    path = re.sub(r"{(\w+)}", lambda match: {**NO_IDS, **ids}[match[1]], operation.path)
    asked = {each["name"]: each["example"] for each in operation.spec.get("parameters", ()) if _is_asked(each)}
    asked |= {name: ids[name] for name in operation.in_query} | QUERIES.get(operation.id, {})
    query = "&".join(f"{name}={value}" for name, values in asked.items() for value in _listed(values))
    content = operation.spec.get("requestBody", {}).get("content", {})
    body: dict[str, Any] = {}
    if "application/json" in content:
        body = {"data": _with_ids(content["application/json"]["example"], ids), "format": "json"}
    elif content:
        body = {"data": {}, "format": "multipart"}
    return getattr(client, operation.method.lower())(f"{path}?{query}" if query else path, **body)


def _is_asked(parameter: Mapping[str, Any]) -> bool:
    return parameter["in"] == "query" and parameter.get("required") is True


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _with_ids(example: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(example, list):
        return [_with_ids(each, ids) for each in example]
    if not isinstance(example, Mapping):
        return example
    known = set(ids) - NOT_LOOKED_UP - {"block_id"}
    return {key: ids[key] if key in known else _with_ids(value, ids) for key, value in example.items()}


# --- Who asks ---------------------------------------------------------------------------------------------------


def with_a_token(user: User) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(user)
    return client


def with_a_key(user: User, permissions: list[ApiKeyPermission]) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_X_API_KEY=keys.create_key(user, "of a program", permissions)[1])
    ApiKey.objects.filter(user=user).update(last_used_at=timezone.now())
    return client


def rows() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_ROWS)
        return {text for (text,) in cursor.fetchall()}


@dataclass
class Sweep:
    """What was tried, and what should not have happened."""

    tried: int = 0
    leaks: list[tuple[object, ...]] = field(default_factory=list)

    def send(self, client: APIClient, operation: Operation, ids: Mapping[str, str], who: str) -> tuple[int, str]:
        """Ask, look for the mark and for what changed of what there was, and take it back."""
        self.tried += 1
        before = rows()
        with transaction.atomic():
            answer = ask(client, operation, ids)
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content
            gone = before - rows()
            transaction.set_rollback(True)
        if CANARY in content.decode(errors="replace"):
            self.leaks.append((operation.id, who, "shows", answer.status_code, content[:300]))
        if any(CANARY in row for row in gone):
            self.leaks.append((operation.id, who, "changes", answer.status_code, gone))
        return answer.status_code, _code(answer, content)


def _code(answer: Any, content: bytes) -> str:
    is_error = answer.status_code >= 400 and answer.headers.get("Content-Type", "").startswith("application/json")
    return str(answer.json()["code"]) if is_error else ""


@pytest.fixture
def worlds(db: None) -> tuple[World, World]:
    """Somebody's, with the canary in everything, and that of whoever tries to get at it."""
    return a_world(CANARY), a_world("nobody-special")


# --- The sweep --------------------------------------------------------------------------------------------------


def test_every_place_where_an_id_goes_has_a_fixture(worlds: tuple[World, World]) -> None:
    unknown = {place for operation in OPERATIONS for place in operation.places} - set(worlds[0].ids)
    assert unknown == set(), "give these ids to `a_world`"


def test_with_ones_own_ids_every_operation_finds_what_it_is_about(worlds: tuple[World, World]) -> None:
    _, mine = worlds
    sweep, missed = Sweep(), []
    program = with_a_key(mine.owner, list(ApiKeyPermission))
    for operation in OPERATIONS:
        client = program if operation.is_for_programs else with_a_token(mine.owner)
        status, code = sweep.send(client, operation, mine.ids, "owner")
        if status == 500 or (status == 404 and code not in ("file_lost", "no_such_link")):
            missed.append((operation.id, status, code))
    assert missed == []
    assert sweep.leaks == []


def test_nobody_reaches_what_is_somebody_elses(worlds: tuple[World, World], capsys: Any) -> None:
    theirs, mine = worlds
    absent = {name: str(uuid7()) for name in theirs.ids} | {"block_id": mine.ids["block_id"]}
    other = with_a_token(mine.owner)
    admin = with_a_token(make.a_user(role=Role.ADMIN))
    anonymous = APIClient(raise_request_exception=False)
    program = with_a_key(mine.owner, list(ApiKeyPermission))
    powerless = with_a_key(theirs.owner, [ApiKeyPermission.USE_TOOLS])
    sweep, told = Sweep(), []
    for operation in OPERATIONS:
        inside = program if operation.is_for_programs else other
        outsiders = {"anonymous": anonymous, "a key without the permission": powerless}
        if operation.is_for_programs:
            outsiders["another's token"] = other
        else:
            outsiders["another's key"] = program
        for who, client in outsiders.items():
            sweep.send(client, operation, theirs.ids, who)
        if not operation.is_for_administrators:
            sweep.send(admin, operation, theirs.ids, "an administrator")
        positions = [operation.places, *([place] for place in operation.places if len(operation.places) > 1)]
        for places in positions if operation.places else [[]]:
            foreign = sweep.send(inside, operation, {**mine.ids, **{p: theirs.ids[p] for p in places}}, str(places))
            nothing = sweep.send(inside, operation, {**mine.ids, **{p: absent[p] for p in places}}, "absent")
            if foreign != nothing and operation.id not in GIVEN_AWAY:
                told.append((operation.id, places, foreign, nothing))
    with capsys.disabled():
        sys.stdout.write(
            f"\nIDOR sweep: leaks {len(sweep.leaks)} / {sweep.tried} requests, {len(OPERATIONS)} operations\n"
        )
    assert sweep.leaks == []
    assert told == [], "somebody else's id and one that never was are answered differently"
    assert sweep.tried > 5 * len(OPERATIONS)
