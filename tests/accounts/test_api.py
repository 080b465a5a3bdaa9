"""Tokens, and the user behind them."""

import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
import time_machine
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import services
from accounts.models import Role, User
from tests import make


def log_in(client: APIClient, email: str, password: str) -> Any:
    return client.post("/api/auth/token", {"email": email, "password": password}, format="json")


def signed(**claims: Any) -> str:
    """A token signed with the platform's key, good but for the claims given; None leaves one out."""
    now = int(time.time())
    good = {"sub": str(uuid4()), "aud": "authenticated", "iss": "taskloom", "exp": now + 60, "iat": now, "jti": "x"}
    payload = {key: value for key, value in {**good, "token_type": "access", **claims}.items() if value is not None}
    # As bytes, because the library refuses to write some of what it must refuse to read.
    return jwt.PyJWS().encode(json.dumps(payload).encode(), settings.JWT_SIGNING_KEY.encode(), "HS256")


def whoami(client: APIClient, token: str) -> Any:
    return client.post("/api/auth/user", headers={"Authorization": f"Bearer {token}"})


def test_an_email_in_any_case_and_the_password_give_tokens(anonymous: APIClient) -> None:
    user = make.a_user("Ada@Example.com", name="Ada")
    answer = log_in(anonymous, "aDA@example.COM", make.PASSWORD)
    assert answer.status_code == 200
    assert answer.json().keys() == {"access", "refresh"}
    claims = jwt.decode(answer.json()["access"], options={"verify_signature": False})
    assert claims["sub"] == str(user.pk)
    assert (claims["email"], claims["role"], claims["aud"]) == ("ada@example.com", "user", "authenticated")
    assert claims["exp"] - claims["iat"] == 3600

    me = whoami(anonymous, answer.json()["access"])
    assert me.status_code == 200
    assert me.json() == {
        "id": str(user.pk),
        "email": "ada@example.com",
        "email_verified": True,
        "name": "Ada",
        "role": "user",
        "timezone": "not-set",
        "created_at": me.json()["created_at"],
        "updated_at": me.json()["updated_at"],
    }


def test_every_failed_login_is_answered_alike(anonymous: APIClient) -> None:
    make.a_user("ada@example.com")
    make.a_user("gone@example.com", is_active=False)
    answers = [
        log_in(anonymous, "ada@example.com", "wrong"),
        log_in(anonymous, "nobody@example.com", make.PASSWORD),
        log_in(anonymous, "gone@example.com", make.PASSWORD),
        log_in(anonymous, "no email at all", make.PASSWORD),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "wrong_credentials"


@pytest.mark.parametrize("body", [{}, {"email": "a"}, {"email": [], "password": {}}, [], "text", 5, None])
def test_a_login_of_another_shape_is_refused(anonymous: APIClient, body: Any) -> None:
    answer = anonymous.post("/api/auth/token", body, format="json")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


def test_a_refresh_token_buys_new_ones_with_the_role_of_today(anonymous: APIClient) -> None:
    user = make.a_user()
    tokens = services.issue_tokens(user)
    User.objects.filter(pk=user.pk).update(role=Role.ADMIN)
    answer = anonymous.post("/api/auth/token/refresh", {"refresh": tokens.refresh}, format="json")
    assert answer.status_code == 200
    claims = jwt.decode(answer.json()["access"], options={"verify_signature": False})
    assert claims["role"] == "admin"
    assert whoami(anonymous, answer.json()["access"]).status_code == 200


def test_an_access_token_buys_nothing_and_a_refresh_token_opens_nothing(anonymous: APIClient) -> None:
    tokens = services.issue_tokens(make.a_user())
    answer = anonymous.post("/api/auth/token/refresh", {"refresh": tokens.access}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_refused")
    assert whoami(anonymous, tokens.refresh).status_code == 401


def test_a_token_is_good_for_an_hour(anonymous: APIClient) -> None:
    token = services.issue_tokens(make.a_user()).access
    now = timezone.now()
    with time_machine.travel(now + timedelta(minutes=59)):
        assert whoami(anonymous, token).status_code == 200
    with time_machine.travel(now + timedelta(minutes=61)):
        answer = whoami(anonymous, token)
    assert answer.status_code == 401
    assert answer.json()["code"] == "token_refused"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_user_who_is_switched_off_is_out_at_once(anonymous: APIClient) -> None:
    user = make.a_user()
    tokens = services.issue_tokens(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert whoami(anonymous, tokens.access).status_code == 401
    answer = anonymous.post("/api/auth/token/refresh", {"refresh": tokens.refresh}, format="json")
    assert answer.status_code == 401


def test_nobody_is_nobody(anonymous: APIClient) -> None:
    assert anonymous.post("/api/auth/user").status_code == 401
