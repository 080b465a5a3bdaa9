"""Administrators who act as somebody else."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts import services
from accounts.models import Impersonation, Preferences, Role, User
from tests import make


def ask(client: APIClient, who: User, as_id: object, path: str = "/api/auth/user/preferences", **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {services.issue_tokens(who).access}", "X-Act-As-User-Id": str(as_id)}
    if body:
        return client.post(path, body, format="json", headers=headers)
    return client.get(path, headers=headers)


@pytest.fixture
def admin(db: None) -> User:
    return make.a_user("root@example.com", role=Role.ADMIN)


def test_an_admin_acts_as_somebody_and_it_is_on_record(anonymous: APIClient, admin: User, client: Client) -> None:
    ada = make.a_user("ada@example.com")
    answer = ask(anonymous, admin, ada.pk, "/api/auth/user/preferences?secret=hidden")
    assert (answer.status_code, answer.json()["user_id"]) == (200, str(ada.pk))
    changed = ask(anonymous, admin, ada.pk, "/api/auth/user/timezone", timezone="Europe/Zurich")
    assert changed.status_code == 200
    ada.refresh_from_db()
    assert ada.time_zone == "Europe/Zurich"

    record = [(row.admin_email, row.user_email, row.method, row.path) for row in Impersonation.objects.order_by("id")]
    assert record == [
        ("root@example.com", "ada@example.com", "GET", "/api/auth/user/preferences"),
        ("root@example.com", "ada@example.com", "POST", "/api/auth/user/timezone"),
    ]
    client.force_login(admin)
    page = client.get("/admin/accounts/impersonation/").content.decode()
    assert "ada@example.com" in page
    assert "/api/auth/user/timezone" in page
    row = Impersonation.objects.first()
    assert row is not None
    assert client.post(f"/admin/accounts/impersonation/{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_record_outlives_both(anonymous: APIClient, admin: User) -> None:
    ada = make.a_user("ada@example.com")
    ask(anonymous, admin, ada.pk)
    User.objects.all().delete()
    assert str(Impersonation.objects.get()) == "root@example.com as ada@example.com: GET /api/auth/user/preferences"


def test_nobody_else_may_not_even_as_themselves(anonymous: APIClient, admin: User) -> None:
    ada = make.a_user()
    for as_id in (admin.pk, ada.pk, "nonsense"):
        answer = ask(anonymous, ada, as_id)
        assert (answer.status_code, answer.json()["code"]) == (403, "impersonation_refused")
    headers = {"X-Act-As-User-Id": str(ada.pk)}
    assert anonymous.get("/api/auth/user/preferences", headers=headers).status_code == 401
    assert not Impersonation.objects.exists()


def test_an_admin_can_be_nobody_who_is_not_there(anonymous: APIClient, admin: User) -> None:
    off = make.a_user(is_active=False)
    for as_id in ("", "nonsense", "01a202a8-0000-7000-8000-000000000000", off.pk):
        answer = ask(anonymous, admin, as_id)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_user")
    assert not Impersonation.objects.exists()


def test_who_is_no_admin_any_more_may_not_with_an_old_token(anonymous: APIClient, admin: User) -> None:
    ada = make.a_user()
    headers = {"Authorization": f"Bearer {services.issue_tokens(admin).access}", "X-Act-As-User-Id": str(ada.pk)}
    User.objects.filter(pk=admin.pk).update(role=Role.USER)
    assert anonymous.get("/api/auth/user/preferences", headers=headers).status_code == 403


def test_passwords_and_addresses_of_others_are_out_of_reach(anonymous: APIClient, admin: User) -> None:
    ada = make.a_user("ada@example.com")
    body = {"password": make.PASSWORD, "new_password": "a wholly new password"}
    answer = ask(anonymous, admin, ada.pk, "/api/auth/password", **body)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_while_impersonating")
    assert ask(anonymous, admin, ada.pk, "/api/auth/user/email", email="a@b.io").status_code == 403
    chosen: dict[str, Any] = {"preferences": {"AGENT_RUN": False}, "daily_limit": 5}
    path = "/api/auth/user/preferences"
    assert ask(anonymous, admin, ada.pk, path, email="a@b.io", **chosen).json()["code"] == "not_while_impersonating"
    assert not Preferences.objects.exists()
    assert ask(anonymous, admin, ada.pk, path, email="ada@example.com", **chosen).status_code == 200
    for user in (ada, admin):
        user.refresh_from_db()
        assert user.check_password(make.PASSWORD)


def test_the_callers_own_record_stays_their_own(anonymous: APIClient, admin: User) -> None:
    ada = make.a_user()
    assert ask(anonymous, admin, ada.pk, "/api/auth/user", x="").json()["id"] == str(admin.pk)
