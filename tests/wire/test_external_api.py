"""The external API: every operation tried with every kind of key that must not open it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys, services
from accounts.external import ExternalView
from accounts.models import ApiKey, ApiKeyPermission, User
from executions.models import GraphExecution
from graphs.models import GraphVersion
from tests import make
from tests.drawing import block_id

ROOT = "/external-api/v1/"
CANARY = "canary-4711"


@dataclass(frozen=True)
class Operation:
    """One method of one path, with what the view asks for."""

    method: str
    route: str
    view: type[ExternalView]

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}"


def walk(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, getattr(pattern.callback, "view_class", None)


def operations() -> list[Operation]:
    return [
        Operation(method, route.removeprefix(ROOT), view)
        for route, view in walk(get_resolver().url_patterns)
        if route.startswith(ROOT)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if hasattr(view, method.lower())
    ]


OPERATIONS = operations()
# What the brave may compare with the contract: operation, the permission it needs.
SERVED = {
    "GET me": "IDENTITY",
    "GET blocks": "READ_BLOCK",
    "POST blocks/<str:block_id>/execute": "EXECUTE_BLOCK",
    "GET graphs": "READ_GRAPH",
    "GET graphs/<uuid:graph_id>": "READ_GRAPH",
    "POST graphs/<uuid:graph_id>/execute/<int:graph_version>": "EXECUTE_GRAPH",
    "GET graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/results": "READ_GRAPH",
}
COUNT = len(SERVED)


@dataclass(frozen=True)
class World:
    """Somebody with one thing of each kind, each with the canary in it."""

    owner: User
    ids: dict[str, str]

    @property
    def everybodys(self) -> dict[str, str]:
        """Ids of what is nobody's own."""
        return {"block_id": block_id("Calculator")}


@pytest.fixture
def world(db: None) -> World:
    owner = make.a_user(f"{CANARY}@example.com", name=CANARY)
    graph = make.a_graph(owner, make.a_drawing(name=CANARY))
    run = make.a_run(owner, graph.graph_id, inputs={"who": CANARY})
    return World(owner, {"graph_id": str(graph.graph_id), "graph_version": "1", "graph_exec_id": str(run.pk)})


def send(operation: Operation, world: World, **headers: str) -> Any:
    path = ROOT + operation.route
    for name, value in (world.ids | world.everybodys).items():
        path = re.sub(rf"<\w+:{name}>", value, path)
    assert "<" not in path, f"the world has nothing to put into {path}"
    client = APIClient(raise_request_exception=False)
    body = {} if operation.method == "GET" else {"data": {}, "format": "json"}
    return getattr(client, operation.method.lower())(path, headers=headers, **body)


def everything() -> list[Any]:
    """All that an operation could change."""
    models = (User, GraphVersion, GraphExecution)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


# --- Who must stay out ------------------------------------------------------------------------------------------

ALL = list(ApiKeyPermission)


def without_any(_: Operation, __: World) -> dict[str, str]:
    return {}


def wrong(_: Operation, world: World) -> dict[str, str]:
    text = keys.create_key(world.owner, "k", ALL)[1]
    return {"X-API-Key": text[:-6] + ("AAAAAA" if not text.endswith("AAAAAA") else "BBBBBB")}


def empty(_: Operation, __: World) -> dict[str, str]:
    return {"X-API-Key": ""}


def wrong_beside_a_good_token(operation: Operation, world: World) -> dict[str, str]:
    token = services.issue_tokens(world.owner).access
    return {**wrong(operation, world), "Authorization": f"Bearer {token}"}


def as_a_token(_: Operation, world: World) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.create_key(world.owner, 'k', ALL)[1]}"}


def lacking(operation: Operation, world: World) -> dict[str, str]:
    others = [permission for permission in ALL if permission != operation.view.needs]
    return {"X-API-Key": keys.create_key(world.owner, "k", others)[1]}


def suspended(_: Operation, world: World) -> dict[str, str]:
    made, text = keys.create_key(world.owner, "k", ALL)
    keys.suspend(world.owner, made.pk)
    return {"X-API-Key": text}


def expired(_operation: Operation, world: World) -> dict[str, str]:
    with time_machine.travel(timezone.now() - timedelta(days=2)):
        _, text = keys.create_key(world.owner, "k", ALL, expires_at=timezone.now() + timedelta(days=1))
    return {"X-API-Key": text}


def revoked(_: Operation, world: World) -> dict[str, str]:
    made, text = keys.create_key(world.owner, "k", ALL)
    keys.revoke(world.owner, made.pk)
    return {"X-API-Key": text}


def of_nobody_any_more(_operation: Operation, world: World) -> dict[str, str]:
    _, text = keys.create_key(world.owner, "k", ALL)
    User.objects.filter(pk=world.owner.pk).update(is_active=False)
    return {"X-API-Key": text}


INTRUDERS: dict[Callable[[Operation, World], dict[str, str]], tuple[int, str]] = {
    without_any: (401, "not_authenticated"),
    empty: (401, "api_key_refused"),
    wrong: (401, "api_key_refused"),
    wrong_beside_a_good_token: (401, "api_key_refused"),
    as_a_token: (401, "token_refused"),
    lacking: (403, "permission_missing"),
    suspended: (401, "api_key_suspended"),
    expired: (401, "api_key_expired"),
    revoked: (401, "api_key_revoked"),
    of_nobody_any_more: (401, "api_key_refused"),
}


def test_the_operations_are_those_that_were_agreed() -> None:
    assert {operation.name: operation.view.needs for operation in OPERATIONS} == SERVED
    assert all(issubclass(operation.view, ExternalView) for operation in OPERATIONS)


def test_no_bad_key_opens_any_operation(world: World) -> None:
    tried, leaks = 0, []
    for operation in OPERATIONS:
        for intruder, expected in INTRUDERS.items():
            headers = intruder(operation, world)
            before = everything()
            answer = send(operation, world, **headers)
            tried += 1
            if (answer.status_code, answer.json()["code"]) != expected or CANARY in answer.content.decode():
                leaks.append((operation.name, intruder.__name__, answer.status_code, answer.content))
            assert everything() == before, (operation.name, intruder.__name__)
            User.objects.filter(pk=world.owner.pk).update(is_active=True)
    assert leaks == []
    assert tried == COUNT * 10


def test_what_is_lacking_is_named(world: World) -> None:
    for operation in OPERATIONS:
        answer = send(operation, world, **lacking(operation, world))
        needed = SERVED[operation.name]
        assert answer.json() == {
            "code": "permission_missing",
            "message": f"The API key lacks the permission {needed}",
            "detail": f"The API key lacks the permission {needed}",
            "hint": "PUT /api/api-keys/{key_id}/permissions gives it.",
            "permission": needed,
        }


# --- Who may come in --------------------------------------------------------------------------------------------


@pytest.fixture
def me(user: User) -> Callable[..., Any]:
    """Asks who I am, with these headers."""
    return lambda **headers: APIClient(raise_request_exception=False).get(f"{ROOT}me", headers=headers)


def test_a_key_says_whose_it_is(user: User, me: Callable[..., Any]) -> None:
    key, text = keys.create_key(user, "k", [ApiKeyPermission.IDENTITY])
    answer = me(**{"X-API-Key": text})
    assert answer.status_code == 200
    assert answer.json() == {"id": str(user.pk), "name": user.name, "email": user.email, "timezone": "not-set"}
    assert ApiKey.objects.get(pk=key.pk).last_used_at is not None


def test_a_key_counts_before_a_token(user: User, me: Callable[..., Any]) -> None:
    _, text = keys.create_key(user, "k", [ApiKeyPermission.IDENTITY])
    token = services.issue_tokens(make.a_user()).access
    answer = me(**{"X-API-Key": text, "Authorization": f"Bearer {token}"})
    assert UUID(answer.json()["id"]) == user.pk


def test_a_token_of_ones_own_opens_everything(user: User, me: Callable[..., Any]) -> None:
    answer = me(Authorization=f"Bearer {services.issue_tokens(user).access}")
    assert (answer.status_code, answer.json()["email"]) == (200, user.email)
