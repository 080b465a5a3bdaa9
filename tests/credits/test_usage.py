"""What credits were used for, over REST and in the admin site."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from credits.kinds import CREDIT, Kind
from tests import make
from tests.credits.books import a_transfer, add_up


def usage(client: APIClient, **query: str) -> Any:
    answer = client.get("/api/credits/usage", {"from": "2026-01-01", "to": "2026-01-31", **query})
    assert answer.status_code == 200, answer.content
    return answer.json()


def sums(client: APIClient, by: str) -> list[tuple[str, int, int]]:
    items = usage(client, by=by)["items"]
    return [(each["name"], each["amount_microcredits"], each["count"]) for each in items]


@pytest.fixture
def used(user: User, transactional_db: None) -> None:
    """Three charges, of which one is not added up yet, and what does not count."""
    first = {"graph_id": "g1", "block_id": "b1", "input": {"model": "m1"}, "api_key_id": "k1"}
    a_transfer(user.pk, -1_500_000, "2026-01-01 00:00", metadata=first)
    a_transfer(user.pk, -1, "2025-12-31 23:59:59", metadata=first)
    a_transfer(user.pk, 9 * CREDIT, "2026-01-02 10:00", Kind.TOP_UP)
    a_transfer(make.a_user().pk, -5, "2026-01-02 10:00", metadata=first)
    a_transfer(user.pk, -2, "2026-01-31 23:59:59", metadata={"graph_id": "g1", "block_id": "b2"})
    add_up()
    a_transfer(user.pk, -4, "2026-01-31 12:00", metadata={"graph_id": "g2", "block_id": "b1", "input": {"model": "m2"}})


@pytest.mark.usefixtures("used")
def test_use_is_summed_by_day_graph_block_model_and_api_key(api: APIClient) -> None:
    assert usage(api, by="graph") == {
        "from": "2026-01-01",
        "to": "2026-01-31",
        "by": "graph",
        "total": 2,
        "total_microcredits": 1_500_006,
        "items": [
            {"name": "g1", "amount": 2, "amount_microcredits": 1_500_002, "count": 2},
            {"name": "g2", "amount": 1, "amount_microcredits": 4, "count": 1},
        ],
    }
    assert sums(api, "day") == [("2026-01-01", 1_500_000, 1), ("2026-01-31", 6, 2)]
    assert sums(api, "block") == [("b1", 1_500_004, 2), ("b2", 2, 1)]
    assert sums(api, "model") == [("m1", 1_500_000, 1), ("m2", 4, 1), ("", 2, 1)]
    assert sums(api, "api_key") == [("k1", 1_500_000, 1), ("", 6, 2)]


def test_without_days_it_is_the_last_thirty(api: APIClient, user: User, anonymous: APIClient) -> None:
    now = datetime.now(UTC)
    a_transfer(user.pk, -2, now)
    a_transfer(user.pk, -3, now - timedelta(days=29))
    a_transfer(user.pk, -4, now - timedelta(days=30))
    told = api.get("/api/credits/usage").json()
    assert (told["by"], told["total_microcredits"], len(told["items"])) == ("day", 5, 2)
    assert told["to"] == str(now.date())
    assert anonymous.get("/api/credits/usage").status_code == 401


def test_the_first_days_of_the_calendar_are_days_too(api: APIClient, user: User) -> None:
    told = api.get("/api/credits/usage", {"to": "0001-01-05"})
    assert (told.status_code, told.json()["from"], told.json()["items"]) == (200, "0001-01-01", [])


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [({"from": "2026-02-01"}, 400, "period_invalid"), ({"from": "2024-01-01"}, 400, "period_invalid"),
     ({"from": "soon"}, 422, "request_invalid"), ({"to": "2026-02-30"}, 422, "request_invalid"),
     ({"by": "weather"}, 422, "request_invalid")],
)  # fmt: skip
def test_a_period_that_cannot_be_is_refused(api: APIClient, query: dict[str, str], status: int, code: str) -> None:
    refused = api.get("/api/credits/usage", {"from": "2026-01-01", "to": "2026-01-31", **query})
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    if query == {"by": "weather"}:
        message = 'query.by: Input should be one of day, graph, block, model, api_key, not "weather".'
        assert refused.json()["message"] == message


def test_the_admin_site_draws_what_was_used(client: Any, admin: User, user: User, transactional_db: None) -> None:
    now = datetime.now(UTC)
    a_transfer(user.pk, -3 * CREDIT, now)
    a_transfer(make.a_user().pk, -CREDIT, now - timedelta(days=2))
    add_up()
    client.force_login(admin)
    drawn = client.get("/admin/credits/daytotal/").content.decode()
    assert drawn.count("<rect ") == 30
    assert f"<title>{now:%Y-%m-%d}: 3 credits</title>" in drawn
    assert f"<title>{now - timedelta(days=2):%Y-%m-%d}: 1 credits</title>" in drawn
    assert f"<title>{now - timedelta(days=1):%Y-%m-%d}: 0 credits</title>" in drawn
    alone = client.get("/admin/credits/daytotal/", {"q": user.email}).content.decode()
    assert f"by {user.email}: 3\n" in alone
    assert f"<title>{now - timedelta(days=2):%Y-%m-%d}: 0 credits</title>" in alone
    assert client.get("/admin/credits/daytotal/", {"q": "\0"}).status_code == 200
    assert "<script" not in drawn.partition("<figure>")[2].partition("</figure>")[0]
    assert " style=" not in drawn.partition("<figure>")[2].partition("</figure>")[0]
