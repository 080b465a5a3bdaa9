"""What happened to a balance, over REST."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from credits import ledger
from credits.history import history_of
from credits.kinds import CREDIT, Kind
from tests import make
from tests.credits.books import a_transfer, add_up, at


def page(client: APIClient, **query: Any) -> Any:
    answer = client.get("/api/credits/transactions", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def pages(client: APIClient, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages, one after the other."""
    found, next_time = [], None
    while True:
        told = page(client, **query, **({"transaction_time": next_time} if next_time else {}))
        found.append(told["transactions"])
        next_time = told["next_transaction_time"]
        if next_time is None:
            return found


def test_what_a_run_used_is_one_line(api: APIClient, user: User) -> None:
    run, graph = uuid4(), str(uuid4())
    ledger.credit(user.pk, 5 * CREDIT, kind=Kind.GRANT, key="grant:1", reason="Welcome")
    a_transfer(user.pk, 10 * CREDIT, "2026-01-01 10:00", Kind.TOP_UP, key="topup:pi_1", reason="Top-up")
    for minute in (2, 1, 4):
        about = {"graph_id": graph}
        a_transfer(user.pk, -CREDIT // 2, f"2026-01-01 10:0{minute}", run_id=run, metadata=about)
    a_transfer(user.pk, -CREDIT, "2026-01-01 10:03", key="use:alone")

    told = page(api)
    grant, used, alone, bought = told["transactions"]
    assert told["next_transaction_time"] is None
    assert used == {
        "transaction_key": f"use:{run}",
        "transaction_time": "2026-01-01T10:04:00Z",
        "transaction_type": "USAGE",
        "amount": -2,
        "amount_microcredits": -1_500_000,
        "running_balance": 7,
        "running_balance_microcredits": 7_500_000,
        "current_balance": 5,
        "description": "Run of a graph",
        "usage_graph_id": graph,
        "usage_execution_id": str(run),
        "usage_node_count": 3,
        "usage_start_time": "2026-01-01T10:01:00Z",
        "user_id": str(user.pk),
        "user_email": user.email,
        "reason": None,
        "admin_email": None,
        "extra_data": None,
    }
    told_of = [(each["transaction_key"], each["amount"], each["running_balance_microcredits"])
               for each in (grant, alone, bought)]  # fmt: skip
    assert told_of == [("grant:1", 5, 12_500_000), ("use:alone", -1, 8_000_000), ("topup:pi_1", 10, 10_000_000)]
    assert (bought["usage_start_time"], bought["reason"], bought["usage_node_count"]) == (None, "Top-up", 0)


def test_pages_tell_every_line_once_also_where_times_are_the_same(api: APIClient, user: User) -> None:
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    runs = [uuid4() for _ in range(12)]
    start = at("2026-01-01 10:00")
    rows = [
        a_transfer(
            user.pk,
            -chance.randint(1, 9) * CREDIT,
            start + timedelta(seconds=chance.randrange(30)),
            run_id=chance.choice([None, *runs]),
        )
        for _ in range(90)
    ]
    expected = {row.run_id or row.pk: 0 for row in rows}
    for row in rows:
        expected[row.run_id or row.pk] += row.change

    whole = page(api)["transactions"]
    for limit in (1, 4, 1000):
        found = pages(api, transaction_count_limit=limit)
        assert [line for lines in found for line in lines] == whole, seed
        assert all(len(lines) >= limit for lines in found[:-1]), seed
    assert sorted(line["amount_microcredits"] for line in whole) == sorted(expected.values()), seed
    times = [line["transaction_time"] for line in whole]
    assert times == sorted(times, reverse=True), seed
    assert whole[0]["running_balance_microcredits"] == sum(row.change for row in rows), seed


def test_one_kind_can_be_asked_for(api: APIClient, user: User) -> None:
    for number in range(3):
        a_transfer(user.pk, 100, f"2026-01-01 10:0{number}", Kind.TOP_UP)
        a_transfer(user.pk, -30, f"2026-01-01 10:0{number}", run_id=uuid4())
    found = pages(api, transaction_type="TOP_UP", transaction_count_limit=2)
    told = [[(each["transaction_type"], each["running_balance_microcredits"]) for each in lines] for lines in found]
    assert told == [[("TOP_UP", 240), ("TOP_UP", 170)], [("TOP_UP", 100)]]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [({"transaction_count_limit": 0}, 400, "limit_invalid"), ({"transaction_count_limit": 1001}, 400, "limit_invalid"),
     ({"transaction_count_limit": -5}, 400, "limit_invalid"),
     ({"transaction_count_limit": "many"}, 422, "request_invalid"),
     ({"transaction_type": "GIFT"}, 422, "request_invalid"),
     ({"transaction_time": "yesterday"}, 422, "request_invalid")],
)  # fmt: skip
def test_a_page_that_cannot_be_is_refused(api: APIClient, query: dict[str, Any], status: int, code: str) -> None:
    refused = api.get("/api/credits/transactions", query)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_nobody_sees_the_history_of_others(stranger: APIClient, anonymous: APIClient, user: User) -> None:
    a_transfer(user.pk, 100, "2026-01-01 10:00", Kind.TOP_UP)
    assert page(stranger) == {"transactions": [], "next_transaction_time": None}
    assert anonymous.get("/api/credits/transactions").status_code == 401
    assert stranger.get("/api/credits/admin/users_history").status_code == 403
    assert anonymous.get("/api/credits/admin/users_history").status_code == 401


def test_administrators_read_everybodys_transfers(
    admin: User, user: User, client_of: Callable[[User], APIClient], settings: Any
) -> None:
    settings.CREDITS = "paid"
    other = make.a_user("grace@example.com", name="Grace Hopper")
    client = client_of(admin)
    body = {"user_id": str(user.pk), "amount": 30, "comments": "for the pilot"}
    key = client.post("/api/credits/admin/add_credits", body, format="json").json()["transaction_key"]
    a_transfer(other.pk, -2 * CREDIT, "2026-01-01 10:00", run_id=uuid4(), metadata={"graph_id": "g"})
    a_transfer(other.pk, 9 * CREDIT, "2026-01-01 09:00", Kind.TOP_UP)

    def history(**query: Any) -> Any:
        return client.get("/api/credits/admin/users_history", query).json()

    everything = history()
    assert everything["pagination"] == {"total_items": 3, "total_pages": 1, "current_page": 1, "page_size": 20}
    given = everything["history"][2]
    assert (given["transaction_key"], given["user_email"], given["admin_email"], given["reason"]) == (
        key, user.email, admin.email, "for the pilot",
    )  # fmt: skip
    assert (given["running_balance"], given["current_balance"]) == (30, 30)
    assert given["extra_data"] == f'{{"admin_id":"{admin.pk}"}}'
    for search in ("grace@", "hopper", str(other.pk)):
        told = [
            (row["amount"], row["running_balance"], row["usage_graph_id"]) for row in history(search=search)["history"]
        ]
        assert told == [(9, 9, None), (-2, 7, "g")], search
    assert history(search="nobody")["history"] == []
    assert [row["amount"] for row in history(transaction_filter="TOP_UP")["history"]] == [9]
    second = history(page=2, page_size=2)
    assert ([row["transaction_key"] for row in second["history"]], second["pagination"]["total_pages"]) == ([key], 2)
    for query in ({"page": 0}, {"page_size": 0}, {"page_size": 101}, {"transaction_filter": "GIFT"}):
        assert client.get("/api/credits/admin/users_history", query).status_code == 422, query


def test_a_run_is_told_whole_however_many_charges_it_has(api: APIClient, user: User) -> None:
    long, short = UUID(int=1), UUID(int=2)
    start = at("2026-01-01 10:00")
    for number in range(450):
        a_transfer(user.pk, -1, start + timedelta(seconds=number), run_id=long)
    a_transfer(user.pk, -5, start - timedelta(seconds=1), run_id=short)
    found = pages(api, transaction_count_limit=1)
    assert [[(each["amount_microcredits"], each["usage_node_count"]) for each in lines] for lines in found] == [
        [(-450, 450)], [(-5, 1)],
    ]  # fmt: skip


USED = """
INSERT INTO credits_transfer (key, user_id, debit, credit, amount, kind, metadata, run_id, at)
SELECT format('use:%%s:%%s', d, n), %(user)s, 'user', 'revenue', 1, 'USAGE', '{}',
    md5(format('%%s:%%s', d, n / 3))::uuid, '2026-01-01'::timestamptz + make_interval(days => d, mins => n)
FROM generate_series(%(first)s, %(last)s) AS d, generate_series(0, 89) AS n
"""


def test_a_page_reads_no_more_transfers_for_those_of_earlier_days(transactional_db: None, user: User) -> None:
    read = []
    for first, last in ((60, 63), (1, 59)):
        with connection.cursor() as cursor:
            cursor.execute(USED, {"user": user.pk, "first": first, "last": last})
        add_up()
        read.append(transfers_read_by(lambda: history_of(user.pk, limit=20)))
    after_days, after_months = read
    assert after_months == after_days < 600


def transfers_read_by(work: Callable[[], object]) -> int:
    """How many rows of transfers Postgres looks at."""

    def rows(plan: dict[str, Any]) -> float:
        mine = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if is_of_transfers(plan) else 0
        return float(mine * plan["Actual Loops"]) + sum(map(rows, plan.get("Plans", [])))

    def is_of_transfers(plan: dict[str, Any]) -> bool:
        return plan.get("Relation Name") == "credits_transfer"

    with CaptureQueriesContext(connection) as asked:
        work()
    with transaction.atomic(), connection.cursor() as cursor:
        # Small tables are read whole otherwise.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("ANALYZE credits_transfer")
        found = 0.0
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
            [[told]] = cursor.fetchall()
            found += rows(told[0]["Plan"])
    return int(found)
