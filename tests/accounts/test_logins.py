"""A login: its tokens one after the other, and its end."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.db import connections
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import services
from accounts.errors import TokenRefused
from accounts.models import Ending, Login, User
from accounts.services import Tokens
from tests import make
from tests.accounts.test_api import signed, whoami


def refreshed(client: APIClient, token: str) -> Any:
    return client.post("/api/auth/token/refresh", {"refresh": token}, format="json")


def log_out(client: APIClient, body: Any = None, access: str = "") -> Any:
    headers = {"Authorization": f"Bearer {access}"} if access else {}
    return client.post("/api/auth/logout", body, format="json", headers=headers)


@pytest.fixture
def tokens(user: User) -> Tokens:
    return services.issue_tokens(user)


def test_a_refresh_token_is_good_for_one_pair_after_another(anonymous: APIClient, tokens: Tokens) -> None:
    newest = tokens.refresh
    for _ in range(3):
        answer = refreshed(anonymous, newest)
        assert answer.status_code == 200
        newest = answer.json()["refresh"]
        assert whoami(anonymous, answer.json()["access"]).status_code == 200
    assert (Login.objects.get().turn, Login.objects.get().ended_at) == (3, None)


def test_a_refresh_token_used_twice_ends_its_whole_family(anonymous: APIClient, user: User, tokens: Tokens) -> None:
    other = services.issue_tokens(user)
    second = refreshed(anonymous, tokens.refresh).json()

    answer = refreshed(anonymous, tokens.refresh)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_reused")
    assert refreshed(anonymous, second["refresh"]).status_code == 401
    assert [whoami(anonymous, access).status_code for access in (tokens.access, second["access"])] == [401, 401]
    # Another login of the same person goes on.
    assert whoami(anonymous, other.access).status_code == 200
    assert refreshed(anonymous, other.refresh).status_code == 200
    assert Login.objects.exclude(ended_at=None).get().ended_because == Ending.TOKEN_REUSED


def test_an_old_refresh_token_ends_the_family_however_many_came_after(anonymous: APIClient, tokens: Tokens) -> None:
    newest = tokens.refresh
    for _ in range(3):
        newest = refreshed(anonymous, newest).json()["refresh"]
    assert refreshed(anonymous, tokens.refresh).json()["code"] == "token_reused"
    assert refreshed(anonymous, newest).json()["code"] == "token_refused"


def test_within_the_grace_several_tabs_may_refresh_and_all_go_on(
    anonymous: APIClient, tokens: Tokens, settings: Settings
) -> None:
    settings.REFRESH_GRACE_SECONDS = 10
    pairs = [refreshed(anonymous, tokens.refresh) for _ in range(20)]
    assert [pair.status_code for pair in pairs] == [200] * 20
    assert [whoami(anonymous, pair.json()["access"]).status_code for pair in pairs] == [200] * 20
    assert Login.objects.get().turn == 1

    with time_machine.travel(timezone.now() + timedelta(seconds=11)):
        assert refreshed(anonymous, tokens.refresh).json()["code"] == "token_reused"
    assert [whoami(anonymous, pair.json()["access"]).status_code for pair in pairs] == [401] * 20


@pytest.mark.django_db(transaction=True)
def test_of_twenty_refreshes_at_once_one_wins_and_the_login_ends() -> None:
    token = services.issue_tokens(make.a_user()).refresh

    def attempt(_: int) -> Tokens | None:
        try:
            return services.refresh(token)
        except TokenRefused:
            return None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        won = [pair for pair in pool.map(attempt, range(20)) if pair]
    assert len(won) == 1
    assert Login.objects.get().ended_because == Ending.TOKEN_REUSED
    with pytest.raises(TokenRefused):
        services.session_of(won[0].access)


def test_a_refresh_token_is_good_for_14_days(anonymous: APIClient, tokens: Tokens) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=13, hours=23)):
        newest = refreshed(anonymous, tokens.refresh).json()["refresh"]
    with time_machine.travel(timezone.now() + timedelta(days=27)):
        assert refreshed(anonymous, newest).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(days=50)):
        assert refreshed(anonymous, newest).json()["code"] == "token_refused"


def test_logging_out_ends_access_and_refresh_at_once(anonymous: APIClient, user: User, tokens: Tokens) -> None:
    other = services.issue_tokens(user)
    assert log_out(anonymous, access=tokens.access).status_code == 204
    assert whoami(anonymous, tokens.access).status_code == 401
    assert refreshed(anonymous, tokens.refresh).json()["code"] == "token_refused"
    assert whoami(anonymous, other.access).status_code == 200
    assert Login.objects.exclude(ended_at=None).get().ended_because == Ending.LOGGED_OUT


def test_logging_out_works_with_the_refresh_token_alone_and_twice(anonymous: APIClient, tokens: Tokens) -> None:
    assert log_out(anonymous, {"refresh": tokens.refresh}).status_code == 204
    ended_at = Login.objects.get().ended_at
    assert log_out(anonymous, {"refresh": tokens.refresh}).status_code == 204
    assert Login.objects.get().ended_at == ended_at
    assert whoami(anonymous, tokens.access).status_code == 401


def test_nobody_can_log_out_nobody(anonymous: APIClient, tokens: Tokens) -> None:
    assert log_out(anonymous).status_code == 401
    assert log_out(anonymous, {"refresh": "nonsense"}).status_code == 401
    assert log_out(anonymous, {"refresh": tokens.access}).status_code == 401
    assert log_out(anonymous, {"refresh": 5}).status_code == 401
    assert log_out(anonymous, {"refresh": []}).status_code == 422
    assert whoami(anonymous, tokens.access).status_code == 200


@pytest.mark.parametrize("turn", [None, -1, 1, 2**63, "0", True, 0.5])
def test_a_turn_that_was_never_given_buys_nothing(anonymous: APIClient, tokens: Tokens, turn: Any) -> None:
    claims = jwt.decode(tokens.refresh, options={"verify_signature": False})
    assert refreshed(anonymous, signed(**{**claims, "turn": turn})).status_code == 401


def test_a_refresh_token_of_another_person_for_this_login_buys_nothing(anonymous: APIClient, tokens: Tokens) -> None:
    claims = jwt.decode(tokens.refresh, options={"verify_signature": False})
    answer = refreshed(anonymous, signed(**{**claims, "sub": str(make.a_user().pk)}))
    assert answer.json()["code"] == "token_refused"
    assert Login.objects.get().ended_at is None


def test_logins_that_have_lapsed_are_forgotten_at_the_next_one(user: User, tokens: Tokens) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=15)):
        services.issue_tokens(user)
    assert Login.objects.count() == 1


def test_an_expired_access_token_keeps_nobody_from_logging_out(anonymous: APIClient, tokens: Tokens) -> None:
    assert log_out(anonymous, {"refresh": tokens.refresh}, access="expired").status_code == 204
    assert whoami(anonymous, tokens.access).status_code == 401
