"""API keys: made and changed over REST, and what showing one gives."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.errors import (
    ApiKeyExpired,
    ApiKeyRefused,
    ApiKeyRevoked,
    ApiKeySuspended,
    PermissionMissing,
    TooManyApiKeys,
)
from accounts.models import ApiKey, ApiKeyPermission, ApiKeyStatus, Role, User
from tests import make

KEYS = "/api/api-keys"
REQUEST = {"name": "robot", "permissions": ["READ_GRAPH", "EXECUTE_GRAPH"]}
IDENTITY = [ApiKeyPermission.IDENTITY]
NO_BUDGETS: list[Any] = [0, -1, 1.5, 2**31, 10**30, "5", "", True, [5], {"max_credits": 5}]

CHANGES: dict[str, Callable[[APIClient, object], Any]] = {
    "get": lambda api, key: api.get(f"{KEYS}/{key}"),
    "revoke": lambda api, key: api.delete(f"{KEYS}/{key}"),
    "suspend": lambda api, key: api.post(f"{KEYS}/{key}/suspend"),
    "resume": lambda api, key: api.post(f"{KEYS}/{key}/resume"),
    "permissions": lambda api, key: api.put(f"{KEYS}/{key}/permissions", {"permissions": ["IDENTITY"]}, format="json"),
    "budget": lambda api, key: api.put(f"{KEYS}/{key}/budget", {"max_credits": 5}, format="json"),
}


def make_one(api: APIClient, **fields: Any) -> Any:
    answer = api.post(KEYS, {**REQUEST, **fields}, format="json")
    assert answer.status_code == 200, answer.json()
    return answer.json()


def refusal_of(text: str) -> type[ApiKeyRefused] | None:
    try:
        keys.access_with(text)
    except ApiKeyRefused as error:
        return type(error)
    return None


def rows() -> list[dict[str, Any]]:
    return [dict(row) for row in ApiKey.objects.order_by("pk").values()]


def test_a_new_key_is_shown_whole_once_and_never_again(api: APIClient, user: User) -> None:
    made = make_one(api, description="nightly", expires_at="2090-01-02T03:04:05Z")

    text = made["plain_text_key"]
    assert re.fullmatch(r"tlk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", text)
    key = ApiKey.objects.get()
    assert made["api_key"] == {
        "id": str(key.pk),
        "user_id": str(user.pk),
        "name": "robot",
        "head": text[:8],
        "tail": text[-8:],
        "status": "ACTIVE",
        "scopes": ["EXECUTE_GRAPH", "READ_GRAPH"],
        "type": "api_key",
        "description": "nightly",
        "created_at": made["api_key"]["created_at"],
        "expires_at": "2090-01-02T03:04:05Z",
        "last_used_at": None,
        "revoked_at": None,
        "max_credits": None,
        "credits_used": None,
        "credits_left": None,
    }
    assert api.get(KEYS).json() == [made["api_key"]]
    assert api.get(f"{KEYS}/{key.pk}").json() == made["api_key"]
    access = keys.access_with(text)
    assert (access.user, access.key_id) == (user, key.pk)
    assert access.permissions == {"EXECUTE_GRAPH", "READ_GRAPH"}


def test_what_is_stored_opens_nothing(api: APIClient) -> None:
    text = make_one(api)["plain_text_key"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_apikey::text FROM accounts_apikey")
        (stored,) = cursor.fetchone()
    secret = text.rpartition(text[4:20])[2]
    assert secret not in stored
    assert secret[:20] not in stored
    key = ApiKey.objects.get()
    for shown in (key.digest, f"tlk_{key.public_id}_{key.digest[:43]}", key.public_id, f"{key.head}{key.tail}"):
        assert refusal_of(shown) is ApiKeyRefused


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "name"),
        ({**REQUEST, "name": " "}, "name"),
        ({**REQUEST, "name": "x" * 101}, "name"),
        ({**REQUEST, "permissions": []}, "permissions"),
        ({**REQUEST, "permissions": "READ_GRAPH"}, "permissions"),
        ({**REQUEST, "permissions": ["READ_GRAPH", "ALL"]}, "permissions"),
        ({**REQUEST, "permissions": ["READ_GRAPH"] * 101}, "permissions"),
        ({**REQUEST, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({**REQUEST, "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({**REQUEST, "expires_at": "soon"}, "expires_at"),
        ({**REQUEST, "description": "x" * 2001}, "description"),
        *(({**REQUEST, "max_credits": wrong}, "max_credits") for wrong in NO_BUDGETS),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_the_field(api: APIClient, body: dict[str, Any], place: str) -> None:
    answer = api.post(KEYS, body, format="json")
    assert answer.status_code == 422
    assert place in answer.json()["detail"][0]["loc"]
    assert rows() == []


def test_what_a_client_may_not_choose_is_ignored(api: APIClient, user: User) -> None:
    other = make.a_user()
    chosen = {
        "id": str(uuid4()),
        "user": str(other.pk),
        "user_id": str(other.pk),
        "digest": "0" * 64,
        "public_id": "0" * 16,
        "head": "h",
        "tail": "t",
        "status": "REVOKED",
        "last_used_at": "2020-01-01T00:00:00Z",
        "revoked_at": "2020-01-01T00:00:00Z",
        "created_at": "2020-01-01T00:00:00Z",
    }
    made = make_one(api, **chosen)
    key = ApiKey.objects.get()
    assert (key.user_id, key.status, key.last_used_at, key.revoked_at) == (user.pk, "ACTIVE", None, None)
    assert {name for name, value in chosen.items() if str(getattr(key, name, None)) == value} == set()
    assert refusal_of(made["plain_text_key"]) is None


def test_keys_are_listed_newest_first_in_two_queries(
    api: APIClient, user: User, django_assert_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    made = [make_one(api, name=f"robot {number}")["api_key"]["id"] for number in range(5)]
    api.delete(f"{KEYS}/{made[2]}")
    make_one(_client(make.a_user()))
    with django_assert_num_queries(2):
        answer = api.get(KEYS, {"page_size": 3})
    assert [key["id"] for key in answer.json()] == made[:1:-1]
    assert (answer["X-Total-Items"], answer["X-Total-Pages"]) == ("5", "2")
    assert [key["status"] for key in answer.json()] == ["ACTIVE", "ACTIVE", "REVOKED"]
    assert api.get(KEYS, {"page_size": 501}).status_code == 422


def _client(user: User) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(user)
    return client


@pytest.mark.parametrize("change", CHANGES)
def test_a_foreign_key_and_one_that_never_was_are_the_same(change: str, api: APIClient, stranger: APIClient) -> None:
    key = make_one(api)["api_key"]["id"]
    before, nobody = rows(), str(uuid4())
    foreign, absent = CHANGES[change](stranger, key), CHANGES[change](stranger, nobody)
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content.decode() == absent.content.decode().replace(nobody, key)
    assert foreign.json()["code"] == "no_such_api_key"
    assert rows() == before


@pytest.mark.parametrize("change", [*CHANGES, "list", "create"])
def test_nobody_has_no_keys(change: str, anonymous: APIClient, user: User) -> None:
    key, text = keys.create_key(user, "robot", IDENTITY)
    before = rows()
    doors = {**CHANGES, "list": lambda api, _: api.get(KEYS), "create": lambda api, _: api.post(KEYS, REQUEST)}
    assert doors[change](anonymous, key.pk).status_code == 401
    anonymous.credentials(HTTP_X_API_KEY=text)
    assert doors[change](anonymous, key.pk).status_code == 401, "a key makes and changes no keys"
    assert rows() == before


# --- The life of a key ------------------------------------------------------------------------------------------


def test_a_suspended_key_is_refused_until_it_is_resumed(api: APIClient) -> None:
    made = make_one(api)
    key, text = made["api_key"]["id"], made["plain_text_key"]
    for _ in range(2):
        answer = CHANGES["suspend"](api, key)
        assert (answer.status_code, answer.json()["status"]) == (200, "SUSPENDED")
        assert refusal_of(text) is ApiKeySuspended
    for _ in range(2):
        answer = CHANGES["resume"](api, key)
        assert (answer.status_code, answer.json()["status"]) == (200, "ACTIVE")
        assert refusal_of(text) is None


def test_a_revoked_key_is_refused_for_good_and_stays_in_the_list(api: APIClient) -> None:
    made = make_one(api)
    key, text = made["api_key"]["id"], made["plain_text_key"]
    revoked = CHANGES["revoke"](api, key)
    assert (revoked.status_code, revoked.json()["status"]) == (200, "REVOKED")
    assert revoked.json()["revoked_at"] is not None
    assert refusal_of(text) is ApiKeyRevoked

    before = rows()
    assert CHANGES["revoke"](api, key).json() == revoked.json()
    for change in ("suspend", "resume", "permissions", "budget"):
        answer = CHANGES[change](api, key)
        assert (answer.status_code, answer.json()["code"]) == (409, "revoked_for_good")
    assert rows() == before
    assert [listed["id"] for listed in api.get(KEYS).json()] == [key]
    assert refusal_of(text) is ApiKeyRevoked


def test_a_revoked_key_is_out_at_once_on_every_connection(owner: User) -> None:
    key, text = keys.create_key(owner, "robot", IDENTITY)

    def in_another_process(_: int) -> type[ApiKeyRefused] | None:
        try:
            return refusal_of(text)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as others:
        assert set(others.map(in_another_process, range(8))) == {None}
        keys.revoke(owner, key.pk)
        assert set(others.map(in_another_process, range(8))) == {ApiKeyRevoked}


def test_a_key_expires_to_the_moment(user: User) -> None:
    end = datetime(2091, 1, 1, tzinfo=UTC)
    _, text = keys.create_key(user, "robot", IDENTITY, expires_at=end)
    with time_machine.travel(end - timedelta(seconds=1), tick=False):
        assert refusal_of(text) is None
    with time_machine.travel(end, tick=False):
        assert refusal_of(text) is ApiKeyExpired


def test_new_permissions_replace_the_old_ones_at_once(api: APIClient) -> None:
    made = make_one(api, permissions=["READ_GRAPH", "READ_GRAPH", "IDENTITY"])
    assert made["api_key"]["scopes"] == ["IDENTITY", "READ_GRAPH"]
    place = f"{KEYS}/{made['api_key']['id']}/permissions"
    answer = api.put(place, {"permissions": ["USE_TOOLS", "READ_STORE"]}, format="json")
    assert (answer.status_code, answer.json()["scopes"]) == (200, ["READ_STORE", "USE_TOOLS"])
    access = keys.access_with(made["plain_text_key"])
    assert access.permissions == {"READ_STORE", "USE_TOOLS"}
    with pytest.raises(PermissionMissing, match="lacks the permission READ_GRAPH"):
        access.check(ApiKeyPermission.READ_GRAPH)

    before = rows()
    refused: list[Any] = [{}, {"permissions": []}, {"permissions": ["read_store"]}, {"permissions": None}, []]
    for body in refused:
        assert api.put(place, body, format="json").status_code == 422
    assert rows() == before


def test_no_database_row_holds_a_permission_that_is_none(user: User) -> None:
    key, _ = keys.create_key(user, "robot", IDENTITY)
    for fields in ({"permissions": ["ALL"]}, {"status": "LOST"}, {"status": "REVOKED"}, {"revoked_at": timezone.now()}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKey.objects.filter(pk=key.pk).update(**fields)


def test_whoever_is_switched_off_has_no_keys_either(user: User) -> None:
    _, text = keys.create_key(user, "robot", IDENTITY)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert refusal_of(text) is ApiKeyRefused
    User.objects.filter(pk=user.pk).update(is_active=True)
    assert refusal_of(text) is None


def test_only_the_very_text_is_the_key(user: User) -> None:
    key, text = keys.create_key(user, "robot", IDENTITY)
    _, another = keys.create_key(make.a_user(), "robot", IDENTITY)
    keys.suspend(user, key.pk)
    swapped = text[:20] + another[20:]
    flipped = text[:-1] + ("A" if text[-1] != "A" else "B")
    wrong = [
        "", "tlk_", text[:-1], text + "x", f" {text}", f"{text}\n", text.upper(), text.replace("tlk", "tlx"), swapped,
        flipped, "tlk_" + "0" * 16 + text[20:], text + "\x00", "tlk_" + "\u0660" * 16 + text[20:], "é" * 64,
        "x" * 100_000,
    ]  # fmt: skip
    assert {refusal_of(guess) for guess in wrong} == {ApiKeyRefused}, "only who knows the secret learns the state"
    assert ApiKey.objects.get(pk=key.pk).last_used_at is None


# --- Use and limits ---------------------------------------------------------------------------------------------


def test_its_use_is_written_down_at_most_once_a_minute(user: User) -> None:
    key, text = keys.create_key(user, "robot", IDENTITY)
    start = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    written = []
    for seconds in (0, 1, 59, 60, 61, 100, 122):
        with (
            time_machine.travel(start + timedelta(seconds=seconds), tick=False),
            CaptureQueriesContext(connection) as asked,
        ):
            keys.access_with(text)
        if any(query["sql"].startswith("UPDATE") for query in asked):
            written.append(seconds)
        last = ApiKey.objects.get(pk=key.pk).last_used_at
        assert last == start + timedelta(seconds=written[-1])
    assert written == [0, 61, 122]


def test_a_refused_key_was_not_used(user: User) -> None:
    key, text = keys.create_key(user, "robot", IDENTITY)
    keys.suspend(user, key.pk)
    assert refusal_of(text) is ApiKeySuspended
    assert ApiKey.objects.get(pk=key.pk).last_used_at is None


def test_nobody_has_more_keys_than_one_may_have(
    api: APIClient, user: User, stranger: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 3)
    made = [make_one(api)["api_key"]["id"] for _ in range(3)]
    CHANGES["suspend"](api, made[0])
    answer = api.post(KEYS, REQUEST, format="json")
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (409, "too_many_api_keys", 3)
    assert answer.json()["hint"] == "Revoke one that is no longer used."
    assert len(rows()) == 3
    make_one(stranger)
    CHANGES["revoke"](api, made[1])
    make_one(api)


def test_many_at_once_make_no_more_keys_than_one_may_have(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 3)

    def at_once(_: int) -> bool:
        try:
            keys.create_key(owner, "robot", IDENTITY)
        except TooManyApiKeys:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as crowd:
        assert sorted(crowd.map(at_once, range(16))) == [False] * 13 + [True] * 3
    assert ApiKey.objects.count() == 3


def test_a_budget_is_set_and_taken_away_again(api: APIClient) -> None:
    key = make_one(api, max_credits=2**31 - 1)["api_key"]
    assert (key["max_credits"], key["credits_used"], key["credits_left"]) == (2**31 - 1, 0, 2**31 - 1)
    place = f"{KEYS}/{key['id']}/budget"
    before = rows()
    for wrong in NO_BUDGETS:
        answer = api.put(place, {"max_credits": wrong}, format="json")
        assert (answer.status_code, answer.json()["detail"][0]["loc"][-1]) == (422, "max_credits"), wrong
    assert api.put(place, {}, format="json").status_code == 422
    assert rows() == before
    assert api.put(place, {"max_credits": 1}, format="json").json()["credits_left"] == 1
    assert api.put(place, {"max_credits": None}, format="json").json() == {
        **key, "max_credits": None, "credits_used": None, "credits_left": None,
    }  # fmt: skip


# --- The admin site ---------------------------------------------------------------------------------------------


def test_operators_see_keys_without_secrets_and_can_revoke_them(client: Client, user: User) -> None:
    key, text = keys.create_key(user, "robot", IDENTITY)
    client.force_login(make.a_user(role=Role.ADMIN))
    place = "/admin/accounts/apikey/"
    listed, page = client.get(place), client.get(f"{place}{key.pk}/change/")
    assert listed.status_code == page.status_code == 200
    for shown in (listed.content.decode(), page.content.decode()):
        assert "robot" in shown
        assert key.digest not in shown
        assert text[20:] not in shown
    assert client.get(f"{place}add/").status_code == 403
    assert client.post(f"{place}{key.pk}/change/", {"name": "other"}).status_code == 302
    assert client.post(f"{place}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    key.refresh_from_db()
    assert (key.name, key.status) == ("robot", ApiKeyStatus.ACTIVE)

    answer = client.post(place, {"action": "revoke", "_selected_action": [str(key.pk)]}, follow=True)
    assert "1 API keys are revoked." in answer.content.decode()
    assert refusal_of(text) is ApiKeyRevoked
    assert client.post(f"{place}{key.pk}/change/", {"max_credits": 5}).status_code == 403
