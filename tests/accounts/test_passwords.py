"""Registering, proving an address, and choosing another password."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import services
from accounts.models import Ending, Login, Role, User
from tests import make
from tests.accounts.mailbox import delivered, token_in, waiting
from tests.accounts.test_api import log_in, whoami

NEW = "a wholly new password"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue(settings: Settings) -> Iterator[None]:
    settings.FRONTEND_URL = "https://app.example/"
    waiting()
    yield
    waiting()


def post(client: APIClient, path: str, **body: Any) -> Any:
    return client.post(f"/api/auth/{path}", body, format="json")


def registered(client: APIClient, email: str = "New@Example.com", password: str = NEW) -> Any:
    return post(client, "register", email=email, password=password)


def test_a_registered_address_is_let_in_once_its_link_was_opened(anonymous: APIClient) -> None:
    answer = registered(anonymous)
    assert (answer.status_code, answer.content) == (202, b"")
    assert log_in(anonymous, "new@example.com", NEW).status_code == 401
    [message] = delivered()
    assert (message.to, message.subject) == (["new@example.com"], "Verify your address")
    assert "https://app.example/verify-email?token=" in message.body

    assert post(anonymous, "verify", token=token_in(message)).status_code == 204
    assert log_in(anonymous, "new@example.com", NEW).status_code == 200
    again = post(anonymous, "verify", token=token_in(message))
    assert (again.status_code, again.json()["code"]) == (400, "link_refused")


def test_an_address_that_is_taken_gets_the_same_answer_and_another_mail(anonymous: APIClient) -> None:
    user = make.a_user("ada@example.com", name="Ada")
    taken, free = registered(anonymous, "ADA@example.com"), registered(anonymous, "free@example.com")
    assert (taken.status_code, taken.content, dict(taken.headers)) == (202, free.content, dict(free.headers))
    to_ada, to_free = delivered()
    assert (to_ada.to, to_ada.subject) == (["ada@example.com"], "You have an account already")
    assert "token" not in to_ada.body
    assert to_free.subject == "Verify your address"
    user.refresh_from_db()
    assert (user.name, user.check_password(make.PASSWORD), user.email_verified) == ("Ada", True, True)


def test_until_it_is_proven_the_last_to_register_an_address_has_it(anonymous: APIClient) -> None:
    registered(anonymous, password="the password of a squatter")
    [of_squatter] = delivered()
    registered(anonymous)
    [of_owner] = delivered()
    assert post(anonymous, "verify", token=token_in(of_squatter)).status_code == 400
    assert post(anonymous, "verify", token=token_in(of_owner)).status_code == 204
    assert log_in(anonymous, "new@example.com", "the password of a squatter").status_code == 401
    assert log_in(anonymous, "new@example.com", NEW).status_code == 200
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("email", "password"),
    [("ada@example.com", "short"), ("ada@example.com", "password1234"), ("ada@example.com", "1234567890123")],
)
def test_a_weak_password_is_refused_whoever_has_the_address(anonymous: APIClient, email: str, password: str) -> None:
    free = registered(anonymous, email, password)
    make.a_user(email)
    taken = registered(anonymous, email, password)
    assert (free.status_code, free.json()["code"]) == (400, "password_too_weak")
    assert free.json() == taken.json()
    assert isinstance(free.json()["detail"], list)
    assert User.objects.count() == 1
    assert waiting() == []


def test_a_password_like_the_address_is_refused(anonymous: APIClient) -> None:
    assert registered(anonymous, "ada.lovelace@example.com", "ada.lovelace").json()["code"] == "password_too_weak"


@pytest.mark.parametrize("body", [{}, {"email": "no address", "password": NEW}, {"email": "a@b.example"}])
def test_a_registration_of_another_shape_is_refused(anonymous: APIClient, body: dict[str, Any]) -> None:
    assert post(anonymous, "register", **body).status_code == 422
    assert (User.objects.count(), waiting()) == (0, [])


def test_a_registration_gives_no_rights(anonymous: APIClient) -> None:
    post(anonymous, "register", email="a@b.example", password=NEW, role="admin", email_verified=True, is_active=False)
    user = User.objects.get()
    assert (user.role, user.email_verified, user.is_active) == (Role.USER, False, True)


def test_the_queue_learns_no_secret_and_the_same_of_everybody(anonymous: APIClient) -> None:
    make.a_user("ada@example.com")
    for email in ("ada@example.com", "nobody@example.com"):
        registered(anonymous, email)
        post(anonymous, "password/forgot", email=email)
    assert waiting() == [
        {"task": "accounts.mail", "kind": kind, "email": email}
        for email in ("ada@example.com", "nobody@example.com")
        for kind in ("registered", "forgotten")
    ]


def test_a_forgotten_password_is_replaced_and_every_login_ends(anonymous: APIClient) -> None:
    user = make.a_user("ada@example.com")
    access = services.issue_tokens(user).access
    answer = post(anonymous, "password/forgot", email="ADA@example.com")
    assert (answer.status_code, answer.content) == (202, b"")
    [message] = delivered()
    assert "https://app.example/reset-password?token=" in message.body

    weak = post(anonymous, "password/reset", token=token_in(message), password="short")
    assert weak.json()["code"] == "password_too_weak"
    assert whoami(anonymous, access).status_code == 200
    assert post(anonymous, "password/reset", token=token_in(message), password=NEW).status_code == 204

    assert whoami(anonymous, access).status_code == 401
    assert log_in(anonymous, "ada@example.com", make.PASSWORD).status_code == 401
    assert log_in(anonymous, "ada@example.com", NEW).status_code == 200
    again = post(anonymous, "password/reset", token=token_in(message), password="one more new password")
    assert again.json()["code"] == "link_refused"
    assert log_in(anonymous, "ada@example.com", NEW).status_code == 200


def test_those_who_cannot_have_a_new_password_get_no_mail_and_the_same_answer(anonymous: APIClient) -> None:
    make.a_user("off@example.com", is_active=False)
    User.objects.create_user("at.the.provider@example.com", None)
    for email in ("nobody@example.com", "off@example.com", "at.the.provider@example.com"):
        assert post(anonymous, "password/forgot", email=email).status_code == 202
    assert delivered() == []


def test_a_link_is_good_for_an_hour_for_its_user_and_its_purpose_alone(anonymous: APIClient) -> None:
    make.a_user("ada@example.com")
    other = make.a_user()
    post(anonymous, "password/forgot", email="ada@example.com")
    registered(anonymous)
    reset, verify = map(token_in, delivered())
    for path, token in (
        ("password/reset", verify),
        ("password/reset", reset.replace(reset.partition(".")[0], str(other.pk))),
        ("password/reset", reset[:-1]),
        ("password/reset", "nonsense"),
        ("verify", reset),
        ("verify", "."),
    ):
        answer = post(anonymous, path, token=token, password=NEW)
        assert (answer.status_code, answer.json()["code"]) == (400, "link_refused")
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert post(anonymous, "password/reset", token=reset, password=NEW).status_code == 400
    assert post(anonymous, "password/reset", token=reset, password=NEW).status_code == 204


def test_a_mail_leads_to_the_site_of_the_settings_whatever_host_was_asked(anonymous: APIClient) -> None:
    make.a_user("ada@example.com")
    body = {"email": "ada@example.com"}
    headers = {"X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
    anonymous.post("/api/auth/password/forgot", body, format="json", headers=headers)
    [message] = delivered()
    assert "evil.example" not in message.body


def test_another_password_ends_all_logins_but_the_one_that_asks(anonymous: APIClient) -> None:
    user = make.a_user("ada@example.com")
    mine, other = services.issue_tokens(user), services.issue_tokens(user)
    body = {"password": make.PASSWORD, "new_password": NEW}
    headers = {"Authorization": f"Bearer {mine.access}"}
    wrong = anonymous.post("/api/auth/password", {**body, "password": "wrong"}, format="json", headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_password")
    weak = anonymous.post("/api/auth/password", {**body, "new_password": "ada@example.com"}, "json", headers=headers)
    assert weak.json()["code"] == "password_too_weak"
    assert whoami(anonymous, other.access).status_code == 200

    assert anonymous.post("/api/auth/password", body, format="json", headers=headers).status_code == 204
    assert [whoami(anonymous, pair.access).status_code for pair in (mine, other)] == [200, 401]
    assert Login.objects.exclude(ended_at=None).get().ended_because == Ending.PASSWORD_CHANGED
    assert log_in(anonymous, "ada@example.com", NEW).status_code == 200
    assert anonymous.post("/api/auth/password", body, format="json").status_code == 401


def test_a_password_set_in_the_admin_site_ends_all_logins(client: Client, anonymous: APIClient) -> None:
    user = make.a_user()
    access = services.issue_tokens(user).access
    client.force_login(make.a_user(role=Role.ADMIN))
    fields = {"usable_password": "true", "password1": NEW, "password2": NEW, "set-password": "1"}
    assert client.post(f"/admin/accounts/user/{user.pk}/password/", fields).status_code == 302
    assert whoami(anonymous, access).status_code == 401


def test_a_password_that_is_only_hashed_anew_ends_nothing(anonymous: APIClient, settings: Settings) -> None:
    user = make.a_user("ada@example.com")
    access = services.issue_tokens(user).access
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    assert log_in(anonymous, "ada@example.com", make.PASSWORD).status_code == 200
    user.refresh_from_db()
    assert user.password.startswith("scrypt")
    assert whoami(anonymous, access).status_code == 200
