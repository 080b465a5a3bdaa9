"""What people decide for themselves."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Notice, Preferences, User
from tests import make
from tests.accounts.mailbox import delivered, token_in, waiting

pytestmark = pytest.mark.django_db(transaction=True)
ALL = dict.fromkeys(Notice.values, True)


@pytest.fixture(autouse=True)
def empty_queue() -> Iterator[None]:
    waiting()
    yield
    waiting()


@pytest.fixture
def ada() -> User:
    return make.a_user("ada@example.com")


@pytest.fixture
def client(ada: User, client_of: Callable[[User | None], APIClient]) -> APIClient:
    return client_of(ada)


def confirmed(client: APIClient, token: str) -> Any:
    return client.post("/api/auth/user/email/confirm", {"token": token}, format="json")


def test_another_address_is_yours_once_its_link_was_opened(client: APIClient, ada: User, anonymous: APIClient) -> None:
    answer = client.post("/api/auth/user/email", '"Countess@Example.com"', content_type="application/json")
    assert (answer.status_code, answer.json()) == (200, {"email": "countess@example.com"})
    [message] = delivered()
    assert message.to == ["countess@example.com"]
    ada.refresh_from_db()
    assert ada.email == "ada@example.com"

    assert confirmed(anonymous, token_in(message)).status_code == 204
    ada.refresh_from_db()
    assert ada.email == "countess@example.com"
    again = confirmed(anonymous, token_in(message))
    assert (again.status_code, again.json()["code"]) == (400, "link_refused")


def test_whether_an_address_is_taken_is_not_told(client: APIClient, ada: User) -> None:
    make.a_user("taken@example.com")
    taken, free = (
        client.post("/api/auth/user/email", email, format="json") for email in ("taken@example.com", "f@b.io")
    )
    assert (taken.status_code, taken.json()) == (200, {"email": "taken@example.com"})
    assert (free.status_code, free.json()) == (200, {"email": "f@b.io"})
    assert [message.to for message in delivered()] == [["f@b.io"]]


def test_an_address_that_was_taken_meanwhile_stays_whose_it_is(client: APIClient, ada: User) -> None:
    client.post("/api/auth/user/email", "new@example.com", format="json")
    [message] = delivered()
    make.a_user("new@example.com")
    assert confirmed(client, token_in(message)).json()["code"] == "link_refused"
    ada.refresh_from_db()
    assert ada.email == "ada@example.com"


@pytest.mark.parametrize("body", ["no address", "", 5, None, [], {"email": "a@b.io"}, "a" * 250 + "@b.io"])
def test_what_is_no_address_is_refused(client: APIClient, ada: User, body: Any) -> None:
    assert client.post("/api/auth/user/email", body, format="json").status_code == 422
    assert waiting() == []


def test_ones_own_address_again_changes_nothing(client: APIClient) -> None:
    assert client.post("/api/auth/user/email", "ADA@example.com", format="json").status_code == 200
    assert waiting() == []


def test_a_time_zone_is_not_set_until_it_is(client: APIClient) -> None:
    assert client.get("/api/auth/user/timezone").json() == {"timezone": "not-set"}
    answer = client.post("/api/auth/user/timezone", {"timezone": "Europe/Zurich"}, format="json")
    assert (answer.status_code, answer.json()) == (200, {"timezone": "Europe/Zurich"})
    assert client.get("/api/auth/user/timezone").json() == {"timezone": "Europe/Zurich"}
    assert client.post("/api/auth/user").json()["timezone"] == "Europe/Zurich"


@pytest.mark.parametrize("name", ["", "not-set", "Mars/Olympus", "../etc/passwd", "europe/zurich", None, 5, ["UTC"]])
def test_what_is_no_time_zone_is_refused(client: APIClient, name: Any) -> None:
    assert client.post("/api/auth/user/timezone", {"timezone": name}, format="json").status_code == 422
    assert client.get("/api/auth/user/timezone").json() == {"timezone": "not-set"}


def test_everything_is_told_until_it_is_not_wanted(client: APIClient, ada: User) -> None:
    first = client.get("/api/auth/user/preferences").json()
    assert first == {
        "user_id": str(ada.pk),
        "email": "ada@example.com",
        "preferences": ALL,
        "daily_limit": 3,
        "emails_sent_today": 0,
        "last_reset_date": first["last_reset_date"],
    }
    assert not Preferences.objects.exists()

    body = {"email": "ada@example.com", "preferences": {"AGENT_RUN": False, "LOW_BALANCE": False}, "daily_limit": 9}
    answer = client.post("/api/auth/user/preferences", body, format="json")
    assert answer.status_code == 200
    assert answer.json()["preferences"] == {**ALL, "AGENT_RUN": False, "LOW_BALANCE": False}
    assert answer.json()["daily_limit"] == 9

    # What is left out stays, and a limit of 0 changes none.
    client.post("/api/auth/user/preferences", {**body, "preferences": {"AGENT_RUN": True}, "daily_limit": 0}, "json")
    now = client.get("/api/auth/user/preferences").json()
    assert (now["preferences"], now["daily_limit"]) == ({**ALL, "LOW_BALANCE": False}, 9)
    assert waiting() == []


def test_another_email_among_the_preferences_must_be_proven_too(client: APIClient, ada: User) -> None:
    body = {"email": "new@example.com", "preferences": {}, "daily_limit": 3}
    assert client.post("/api/auth/user/preferences", body, format="json").json()["email"] == "ada@example.com"
    [message] = delivered()
    assert confirmed(client, token_in(message)).status_code == 204
    assert client.get("/api/auth/user/preferences").status_code == 200
    assert User.objects.get().email == "new@example.com"


@pytest.mark.parametrize(
    "change",
    [
        {"preferences": {"NOTHING": True}},
        {"preferences": {"AGENT_RUN": "maybe"}},
        {"preferences": []},
        {"daily_limit": -1},
        {"daily_limit": 2**40},
        {"email": "no address"},
    ],
)
def test_preferences_of_another_shape_are_refused_and_change_nothing(client: APIClient, change: dict[str, Any]) -> None:
    body = {"email": "new@example.com", "preferences": {"AGENT_RUN": False}, "daily_limit": 5, **change}
    assert client.post("/api/auth/user/preferences", body, format="json").status_code == 422
    assert not Preferences.objects.exists()
    assert waiting() == []


def test_nobody_has_no_settings_and_everybody_their_own(
    client: APIClient, anonymous: APIClient, stranger: APIClient
) -> None:
    for path in ("timezone", "preferences"):
        assert anonymous.get(f"/api/auth/user/{path}").status_code == 401
    body = {"email": "ada@example.com", "preferences": {"AGENT_RUN": False}, "daily_limit": 5}
    client.post("/api/auth/user/preferences", body, format="json")
    assert stranger.get("/api/auth/user/preferences").json()["preferences"] == ALL
