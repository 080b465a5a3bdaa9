"""People in the admin site."""

import pytest
from django.test import Client

from accounts.models import Role, User
from tests import make


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    client.force_login(make.a_user("root@example.com", role=Role.ADMIN))
    return client


def test_an_admin_logs_in_with_the_email(client: Client, db: None) -> None:
    make.a_user("root@example.com", role=Role.ADMIN)
    answer = client.post("/admin/login/?next=/admin/", {"username": "Root@Example.com", "password": make.PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_an_ordinary_user_does_not_get_in(client: Client, user: User) -> None:
    page = client.post("/admin/login/", {"username": user.email, "password": make.PASSWORD}).content.decode()
    assert "staff account" in page


def test_people_can_be_listed_searched_and_added(admin: Client) -> None:
    fields = {
        "email": "New@Example.com",
        "name": "New",
        "role": "user",
        "usable_password": "true",
        "password1": "a long enough password",
        "password2": "a long enough password",
    }
    assert admin.post("/admin/accounts/user/add/", fields).status_code == 302
    new = User.objects.get(email="new@example.com")
    assert new.check_password("a long enough password")
    page = admin.get("/admin/accounts/user/", {"q": "new@"}).content.decode()
    assert "new@example.com" in page
    assert "root@example.com" not in page.replace("Welcome", "").split("result_list")[1]

    twice = admin.post("/admin/accounts/user/add/", {**fields, "email": "NEW@example.com"})
    assert twice.status_code == 200
    assert User.objects.count() == 2


def test_a_change_brings_the_email_into_its_form(admin: Client, user: User) -> None:
    fields = {"email": "Other@Example.com", "name": "", "role": "admin", "time_zone": "UTC", "is_active": "on"}
    assert admin.post(f"/admin/accounts/user/{user.pk}/change/", fields).status_code == 302
    user.refresh_from_db()
    assert (user.email, user.role) == ("other@example.com", "admin")
    assert user.check_password(make.PASSWORD)


def test_nobody_gets_a_time_zone_that_there_is_not(admin: Client, user: User) -> None:
    fields = {"email": user.email, "name": "", "role": "user", "time_zone": "Mars/Base", "is_active": "on"}
    refused = admin.post(f"/admin/accounts/user/{user.pk}/change/", fields)
    assert "This is no IANA time zone" in refused.content.decode()
    assert User.objects.get(pk=user.pk).time_zone == "not-set"
    chosen = admin.post(f"/admin/accounts/user/{user.pk}/change/", {**fields, "time_zone": "Europe/Zurich"})
    assert chosen.status_code == 302


def test_administrators_do_not_lock_themselves_out(admin: Client) -> None:
    root = User.objects.get(email="root@example.com")
    fields = {"email": root.email, "name": "", "role": "admin", "time_zone": "not-set", "is_active": "on"}
    without_one = [{**fields, "role": "user"}, {key: value for key, value in fields.items() if key != "is_active"}]
    for sent in without_one:
        refused = admin.post(f"/admin/accounts/user/{root.pk}/change/", sent)
        assert "have another administrator" in refused.content.decode()
    root.refresh_from_db()
    assert (root.is_active, root.role) == (True, "admin")
    assert admin.post(f"/admin/accounts/user/{root.pk}/change/", {**fields, "name": "Root"}).status_code == 302


def test_no_password_is_shown(admin: Client, user: User) -> None:
    page = admin.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
    assert user.password not in page
    assert user.password.rpartition("$")[2] not in page


def test_groups_are_not_offered(admin: Client) -> None:
    assert admin.get("/admin/auth/group/").status_code == 404
