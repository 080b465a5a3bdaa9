"""Statements of a month, as JSON and as CSV."""

import asyncio
import csv
import json
import random
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from credits.kinds import CREDIT, Kind
from credits.models import Transfer
from credits.statements import Month
from credits.totals import fold_transfers
from tests.credits.books import a_transfer, at


def body(client: APIClient, **query: str) -> str:
    answer = client.get("/api/credits/statement", query)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def as_json(client: APIClient, month: str) -> Any:
    return json.loads(body(client, month=month))


def as_rows(client: APIClient, month: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(body(client, month=month, format="csv"))))


def test_a_statement_leads_from_the_opening_to_the_closing_balance(api: APIClient, user: User) -> None:
    a_transfer(user.pk, 20 * CREDIT, "2025-12-31 23:59:59.999999", Kind.TOP_UP)
    a_transfer(
        user.pk, -1_500_000, "2026-01-01 00:00", key="use:1", reason="Shout: 1 × run", metadata={"graph_id": "g"}
    )
    a_transfer(user.pk, 3, "2026-01-31 23:59:59.999999", Kind.GRANT, key="grant:1", reason="Thanks")
    a_transfer(user.pk, -1, "2026-02-01 00:00")

    assert as_json(api, "2026-01") == {
        "month": "2026-01",
        "opening_balance_microcredits": 20_000_000,
        "transactions": [
            {
                "transaction_key": "use:1",
                "transaction_time": "2026-01-01T00:00:00Z",
                "transaction_type": "USAGE",
                "description": "Shout: 1 × run",
                "usage_graph_id": "g",
                "usage_execution_id": None,
                "amount_microcredits": -1_500_000,
                "balance_microcredits": 18_500_000,
            },
            {
                "transaction_key": "grant:1",
                "transaction_time": "2026-01-31T23:59:59.999999Z",
                "transaction_type": "GRANT",
                "description": "Thanks",
                "usage_graph_id": None,
                "usage_execution_id": None,
                "amount_microcredits": 3,
                "balance_microcredits": 18_500_003,
            },
        ],
        "totals_microcredits": {"USAGE": -1_500_000, "GRANT": 3},
        "closing_balance_microcredits": 18_500_003,
    }
    assert body(api, month="2026-01", format="csv").split("\r\n") == [
        "time,key,type,description,graph,run,credits,balance",
        "2026-01-01T00:00:00Z,,OPENING_BALANCE,,,,,20.000000",
        "2026-01-01T00:00:00.000000Z,use:1,USAGE,Shout: 1 × run,g,,-1.500000,18.500000",
        "2026-01-31T23:59:59.999999Z,grant:1,GRANT,Thanks,,,0.000003,18.500003",
        "2026-02-01T00:00:00Z,,CLOSING_BALANCE,,,,,18.500003",
        "",
    ]


@pytest.mark.parametrize("is_folded", [False, True])
def test_any_history_adds_up_month_after_month(
    transactional_db: None, api: APIClient, user: User, is_folded: bool
) -> None:
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    start = at("2025-11-01 00:00")
    for number in range(150):
        kind = chance.choice(list(Kind)[:4])
        sign = -1 if kind in (Kind.USAGE, Kind.REFUND) else chance.choice([1, 1, -1]) if kind is Kind.GRANT else 1
        when = start + timedelta(seconds=chance.randrange(150 * 86400))
        a_transfer(user.pk, sign * chance.randint(1, 10 ** chance.randint(1, 15)), when, kind)
        if is_folded and number % 50 == 30:
            fold_transfers()
            fold_transfers()
    balance = Decimal(0)
    micro, told = 0, 0
    month = Month(2025, 10)
    for _ in range(7):
        document, rows = as_json(api, str(month)), as_rows(api, str(month))
        assert document["opening_balance_microcredits"] == micro, seed
        assert Decimal(rows[0]["balance"]) == balance, seed
        micro += sum(each["amount_microcredits"] for each in document["transactions"])
        balance += sum(Decimal(row["credits"]) for row in rows[1:-1])
        assert (
            document["closing_balance_microcredits"]
            == micro
            == sum(document["totals_microcredits"].values(), document["opening_balance_microcredits"])
        ), seed
        assert Decimal(rows[-1]["balance"]) == balance == Decimal(micro) / CREDIT, seed
        told += len(document["transactions"])
        month = month.following
    assert told == 150
    assert micro == sum(transfer.change for transfer in Transfer.objects.all()), seed


def test_no_text_becomes_a_formula(api: APIClient, user: User) -> None:
    hostile = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", 'a",=1', "line\nbreak", "plain"]
    for number, text in enumerate(hostile):
        a_transfer(user.pk, 1, f"2026-01-01 10:0{number}", Kind.GRANT, reason=text)
    shown = [row["description"] for row in as_rows(api, "2026-01")[1:-1]]
    assert shown == [
        "'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", "'  =1", 'a",=1', "line\nbreak", "plain",
    ]  # fmt: skip


def test_a_long_statement_is_made_while_it_is_sent(transactional_db: None, api: APIClient, user: User) -> None:
    start = at("2026-01-01 00:00")
    template = a_transfer(user.pk, -1, start)
    rows = [
        Transfer(
            key=f"use:{number}", user_id=user.pk, debit="user", credit="revenue", amount=1, kind=Kind.USAGE,
            at=template.at, metadata={},
        )
        for number in range(2499)
    ]  # fmt: skip
    Transfer.objects.bulk_create(rows)
    with CaptureQueriesContext(connection) as queries:
        answer: Any = api.get("/api/credits/statement", {"month": "2026-01"})
        assert len([query for query in queries if "LIMIT 1000" in query["sql"]]) == 0
        pieces = list(answer.streaming_content)
        assert len([query for query in queries if "LIMIT 1000" in query["sql"]]) == 4
    assert len(pieces) > 3

    async def over_asgi() -> bytes:
        again: Any = await asyncio.to_thread(api.get, "/api/credits/statement", {"month": "2026-01"})
        return b"".join([piece async for piece in again])

    assert asyncio.run(over_asgi()) == b"".join(pieces)
    assert json.loads(b"".join(pieces))["closing_balance_microcredits"] == -2500


@pytest.mark.parametrize(
    "query",
    [
        {"month": "2026-13"},
        {"month": "2026-1"},
        {"month": "0000-01"},
        {"format": "pdf"},
        {"month": "now"},
    ],
)
def test_a_statement_that_cannot_be_is_refused(api: APIClient, query: dict[str, str]) -> None:
    refused = api.get("/api/credits/statement", {"format": "csv", **query})
    assert (refused.status_code, refused.json()["code"]) == (422, "request_invalid")


def test_a_statement_is_its_owners(stranger: APIClient, anonymous: APIClient, user: User) -> None:
    a_transfer(user.pk, 1, "2026-01-01 10:00", Kind.GRANT)
    assert as_json(stranger, "2026-01")["transactions"] == []
    assert anonymous.get("/api/credits/statement").status_code == 401
