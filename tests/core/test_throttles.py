"""Who may do what how often, over HTTP and over the buckets themselves."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKeyPermission, Role, User
from config import env
from core import buckets
from core.broker import client_of
from core.buckets import Bucket, LocalBuckets, Verdict, take
from core.clients import address_of
from executions.models import GraphExecution
from tests import make

NOBODY_LISTENS = "redis://127.0.0.1:1/0"
LOG_IN = "/api/auth/token"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Buckets of other tests are no concern of this one."""
    found = client_of(project.REDIS_URL)
    if names := list(found.scan_iter("taskloom:bucket:*")):
        found.delete(*names)
    buckets._local = LocalBuckets()


@pytest.fixture
def limit(settings: Any) -> Callable[..., None]:
    """Sets the limits of some scopes."""

    def set_limits(**rates: str) -> None:
        settings.RATES = {**settings.RATES, **rates}

    return set_limits


def a_bucket(size: int, seconds: float = 3600) -> Bucket:
    return Bucket(f"test:{uuid4()}", size, seconds)


def verdict_of(*asked: Bucket) -> Verdict:
    verdict = take(asked, guards=True)
    assert verdict is not None
    return verdict


# --- The buckets ------------------------------------------------------------------------------------------------


def test_of_many_at_the_same_moment_exactly_as_many_pass_as_there_are_tokens_in_each_of_20_rounds():
    passed = []
    with ThreadPoolExecutor(32) as crowd:
        for _ in range(20):
            bucket = a_bucket(50)
            verdicts = list(crowd.map(lambda _, bucket=bucket: take([bucket], guards=False), range(200)))
            passed.append(sum(verdict is not None and verdict.accepted for verdict in verdicts))

    assert passed == [50] * 20


@pytest.mark.parametrize("where", ["shared", "local"])
def test_tokens_come_back_one_by_one_and_never_more_than_there_is_room_for(where: str, settings: Any):
    if where == "local":
        settings.REDIS_URL = NOBODY_LISTENS
    bucket = a_bucket(4, seconds=0.4)

    first = [verdict_of(bucket) for _ in range(5)]
    time.sleep(first[-1].wait)
    again = [verdict_of(bucket) for _ in range(2)]

    assert [(verdict.accepted, verdict.remaining) for verdict in first] == [
        (True, 3),
        (True, 2),
        (True, 1),
        (True, 0),
        (False, 0),
    ]
    assert 0 < first[-1].wait <= 0.1
    assert 0.3 < first[-1].reset <= 0.4
    assert [verdict.accepted for verdict in again] == [True, False]

    time.sleep(0.5)
    assert [verdict_of(bucket).accepted for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize("where", ["shared", "local"])
def test_what_one_bucket_refuses_costs_no_token_of_the_other(where: str, settings: Any):
    if where == "local":
        settings.REDIS_URL = NOBODY_LISTENS
    wide, narrow = a_bucket(10), a_bucket(1)
    verdict_of(wide, narrow)

    refused = [verdict_of(wide, narrow) for _ in range(20)]
    alone = verdict_of(wide)

    assert {(verdict.accepted, verdict.key) for verdict in refused} == {(False, narrow.key)}
    assert alone.remaining == 8


def test_a_script_that_the_server_has_forgotten_is_sent_again():
    bucket = a_bucket(3)
    take([bucket], guards=False)
    client_of(project.REDIS_URL).script_flush()

    verdict = verdict_of(bucket)

    assert (verdict.accepted, verdict.remaining) == (True, 1)


def test_a_limit_that_is_lowered_or_a_clock_that_was_set_back_keeps_nobody_out_longer_than_the_limit_says():
    key = f"test:{uuid4()}"
    client_of(project.REDIS_URL).set(f"taskloom:bucket:{key}", str(10**16))

    verdict = verdict_of(Bucket(key, 5, 60))

    assert not verdict.accepted
    assert verdict.wait <= 12


def test_a_bucket_is_gone_from_redis_once_it_is_full():
    bucket = a_bucket(2, seconds=60)
    take([bucket], guards=False)

    left = client_of(project.REDIS_URL).pttl(f"taskloom:bucket:{bucket.key}")

    assert 29_000 < left <= 30_000


def test_without_redis_what_guards_passwords_is_counted_here_and_the_rest_passes(settings: Any):
    settings.REDIS_URL = NOBODY_LISTENS
    guarding, general = a_bucket(3), a_bucket(3)

    assert [verdict_of(guarding).accepted for _ in range(5)] == [True] * 3 + [False] * 2
    assert [take([general], guards=False) for _ in range(5)] == [None] * 5


def test_a_redis_that_is_away_is_asked_only_once_in_a_while(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def away(**_: object) -> None:
        asked.append(1)
        raise redis.ConnectionError("away")

    shared = buckets.SharedBuckets(NOBODY_LISTENS)
    monkeypatch.setattr(shared, "_script", away)

    assert [shared.take([a_bucket(1)]) for _ in range(100)] == [None] * 100
    assert len(asked) == 1


def test_the_buckets_of_one_process_take_bounded_memory():
    local = LocalBuckets()

    for number in range(30_000):
        local.take([Bucket(str(number), 5, 3600)])

    assert len(local._full) <= 10_000


# --- Over HTTP --------------------------------------------------------------------------------------------------


def test_every_answer_of_a_limited_scope_tells_the_limit_and_a_refusal_when_to_come_back(
    api: APIClient, limit: Callable[..., None]
):
    limit(general="3/h")

    answers = [api.get("/api/graphs") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer["RateLimit-Limit"] for answer in answers} == {"3"}
    assert "Retry-After" not in answers[2].headers
    refused = answers[-1]
    assert 1190 <= int(refused["Retry-After"]) <= 1200
    assert 3590 <= int(refused["RateLimit-Reset"]) <= 3600
    assert refused.json() == {
        "code": "too_many_requests",
        "message": "There were too many requests of this kind.",
        "detail": "There were too many requests of this kind.",
        "hint": "Come back after as many seconds as the header Retry-After says.",
        "scope": "general",
        "retry_after": int(refused["Retry-After"]),
    }


def test_users_have_buckets_of_their_own_and_what_is_off_is_not_counted(
    api: APIClient, stranger: APIClient, limit: Callable[..., None]
):
    limit(general="1/h")

    assert [api.get("/api/graphs").status_code for _ in range(2)] == [200, 429]
    assert stranger.get("/api/graphs").status_code == 200

    limit(general="off")
    answer = api.get("/api/graphs")
    assert answer.status_code == 200
    assert "RateLimit-Limit" not in answer.headers


def test_starts_are_counted_apart_and_a_refused_one_starts_nothing(
    api: APIClient, user: User, limit: Callable[..., None]
):
    limit(starts="2/h", batches="1/h", general="100/h")
    graph = make.a_graph(user)
    start = f"/api/graphs/{graph.graph_id}/execute/1"
    batch = f"/api/graphs/{graph.graph_id}/execute-batch/1"
    inputs = {"inputs": {"who": "ann"}}

    starts = [api.post(start, inputs, format="json").status_code for _ in range(4)]
    batches = [api.post(batch, {"runs": [inputs] * 3}, format="json").status_code for _ in range(2)]

    assert starts == [200, 200, 429, 429]
    assert batches == [200, 429]
    assert GraphExecution.objects.count() == 5
    assert api.get("/api/executions")["RateLimit-Remaining"] == "99"


def test_a_key_that_runs_wild_leaves_room_for_the_others_of_its_owner(user: User, limit: Callable[..., None]):
    limit(general="10/h", keys="2/h")
    first, second = (
        APIClient(headers={"X-API-Key": keys.create_key(user, name, [ApiKeyPermission.IDENTITY])[1]}) for name in "ab"
    )

    statuses = [first.get("/external-api/v1/me").status_code for _ in range(6)]

    assert statuses == [200, 200, 429, 429, 429, 429]
    assert second.get("/external-api/v1/me").status_code == 200
    assert first.get("/external-api/v1/me").json()["scope"] == "keys"


def test_of_200_guesses_at_one_account_from_everywhere_as_many_are_looked_at_as_the_limit_says(
    user: User, anonymous: APIClient, limit: Callable[..., None], settings: Any
):
    limit(sign_in="30/m", sign_in_account="20/15m")
    settings.PROXIES = 1

    def guess(number: int) -> int:
        came_from = {"X-Forwarded-For": f"198.51.100.{number}"}
        body = {"email": user.email.upper() if number % 2 else user.email, "password": f"guess {number}"}
        return anonymous.post(LOG_IN, body, format="json", headers=came_from).status_code

    statuses = [guess(number) for number in range(200)]

    assert statuses == [401] * 20 + [429] * 180
    right = {"email": user.email, "password": make.PASSWORD}
    assert anonymous.post(LOG_IN, right, format="json").status_code == 429
    other = make.a_user()
    body = {"email": other.email, "password": make.PASSWORD}
    assert anonymous.post(LOG_IN, body, format="json").status_code == 200


def test_of_guesses_at_many_accounts_from_one_address_as_many_are_looked_at_as_the_limit_says(
    anonymous: APIClient, limit: Callable[..., None]
):
    limit(sign_in="5/h", sign_in_account="20/h")

    # Without a proxy the header is the client's own word.
    statuses = [
        anonymous.post(
            LOG_IN,
            {"email": f"{number}@example.com", "password": "x"},
            format="json",
            headers={"X-Forwarded-For": f"198.51.100.{number}"},
        ).status_code
        for number in range(10)
    ]
    assert statuses == [401] * 5 + [429] * 5


def test_bodies_that_cannot_be_read_count_too(anonymous: APIClient, limit: Callable[..., None]):
    limit(sign_in="2/h")

    statuses = [anonymous.post(LOG_IN, b"{", content_type="application/json").status_code for _ in range(4)]

    assert statuses == [422, 422, 429, 429]


@pytest.mark.django_db
def test_the_admin_site_counts_attempts_together_with_the_rest(limit: Callable[..., None]):
    def try_admin(email: str) -> Any:
        return Client().post("/admin/login/", {"username": email, "password": make.PASSWORD})

    admin = make.a_user(role=Role.ADMIN)
    limit(sign_in_account="2/h")
    api = APIClient()
    wrong = {"email": admin.email, "password": "wrong"}
    assert [api.post(LOG_IN, wrong, format="json").status_code for _ in range(2)] == [401, 401]

    refused = try_admin(admin.email)

    assert refused.status_code == 200
    assert "Too many attempts. Try again in 1800 seconds." in refused.content.decode()
    assert refused["Retry-After"] == "1800"
    assert try_admin(make.a_user(role=Role.ADMIN).email).status_code == 302


def test_one_address_is_sent_few_mails_whoever_asks(anonymous: APIClient, limit: Callable[..., None]):
    limit(mails="100/h", mails_account="2/h")
    asking = {"email": "ann@example.com"}

    statuses = [anonymous.post("/api/auth/password/forgot", asking, format="json").status_code for _ in range(3)]
    again = {**asking, "password": make.PASSWORD, "name": "Ann"}

    assert statuses == [202, 202, 429]
    assert anonymous.post("/api/auth/register", again, format="json").status_code == 429


def test_preferences_count_as_a_mail_only_when_they_name_another_address(
    api: APIClient, user: User, limit: Callable[..., None]
):
    limit(mails="1/h")

    def choose(email: str) -> int:
        body = {"email": email, "preferences": {}, "daily_limit": 0}
        return int(api.post("/api/auth/user/preferences", body, format="json").status_code)

    assert [choose(user.email) for _ in range(3)] == [200] * 3
    assert [choose("other@example.com") for _ in range(2)] == [200, 429]


def test_health_is_never_limited(anonymous: APIClient, limit: Callable[..., None]):
    limit(anonymous="1/h", general="1/h")

    assert [anonymous.get("/health").status_code for _ in range(5)] == [200] * 5


def test_what_anybody_may_try_has_a_strict_limit_of_its_own():
    open_to_anybody = {
        path
        for path, view in _views()
        if not view.authentication_classes and hasattr(view, "post") and not hasattr(view, "throttle_scope")
    }

    # Their tokens and signatures cannot be guessed, and they send no mail.
    events = "api/integrations/<str:provider>/webhooks/<uuid:webhook_id>/ingress"
    assert open_to_anybody == {"api/auth/token/refresh", "api/auth/logout", "api/credits/stripe_webhook", events}


def test_what_starts_runs_is_limited_as_such():
    scopes = {path: getattr(view, "throttle_scope", None) for path, view in _views()}

    starting = {
        path: scope for path, scope in scopes.items() if path.endswith(("/retry", "/replay")) or "execute" in path
    }
    assert len(starting) >= 7
    assert set(starting.values()) == {"starts", "batches"}
    assert scopes["api/files/upload"] == "uploads"
    assert {scope for scope in scopes.values() if scope} <= set(project.RATES)


def _views() -> list[tuple[str, Any]]:
    def walk(resolver: URLResolver, prefix: str) -> Any:
        for pattern in resolver.url_patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern, route)
            elif (view := getattr(pattern.callback, "cls", None)) is not None:
                yield route, view

    return list(walk(get_resolver(), ""))


# --- Whose requests they are ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "", "192.0.2.9"),
        (0, "1.1.1.1", "192.0.2.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        (2, "1.1.1.1", "192.0.2.9"),
        (1, "", "192.0.2.9"),
        (1, "1.1.1.1:4711", "1.1.1.1"),
        (1, "[2001:db8::1]:4711", "2001:db8::/64"),
        (1, "2001:db8:0:0:1:2:3:4", "2001:db8::/64"),
        (1, "::ffff:1.1.1.1", "1.1.1.1"),
        (1, "unix:", "unknown"),
        (1, "' OR 1=1", "unknown"),
        (1, "1.1.1.1, " + "9" * 5000, "unknown"),
    ],
)
def test_only_what_our_own_proxies_wrote_tells_where_a_request_comes_from(
    settings: Any, proxies: int, forwarded: str, expected: str
):
    settings.PROXIES = proxies
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR="192.0.2.9")

    assert address_of(request) == expected


# --- The setting ------------------------------------------------------------------------------------------------

DEFAULTS = {"general": "1/s", "starts": "2/s"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", DEFAULTS),
        ("off", {"general": "off", "starts": "off"}),
        ("starts=100/m", {"general": "1/s", "starts": "100/m"}),
        ("starts = 20/15m, general=off", {"general": "off", "starts": "20/15m"}),
    ],
)
def test_limits_are_chosen_by_scope(monkeypatch: pytest.MonkeyPatch, text: str, expected: dict[str, str]):
    monkeypatch.setenv("TASKLOOM_RATES", text)

    assert env.rates("TASKLOOM_RATES", DEFAULTS) == expected


@pytest.mark.parametrize("text", ["stats=1/m", "starts", "starts=", "starts=0/m", "starts=1/w", "starts=-1/m", "1/m"])
def test_a_limit_that_cannot_be_read_stops_the_start_with_its_name(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("TASKLOOM_RATES", text)

    with pytest.raises(ImproperlyConfigured, match="TASKLOOM_RATES"):
        env.rates("TASKLOOM_RATES", DEFAULTS)
