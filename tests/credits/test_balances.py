"""What people have, over REST, and how administrators change it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from accounts.services import issue_tokens
from credits import holds, ledger
from credits.adjustments import adjust, decide
from credits.balances import balance_of, refill
from credits.errors import NeedsAnother
from credits.holds import Wish
from credits.kinds import CREDIT, Kind
from credits.models import Adjustment, DayTotal, Transfer
from tests import make


def adding(client: APIClient, user: User, amount: object, comments: str = "for the pilot", **headers: str) -> Any:
    body = {"user_id": str(user.pk), "amount": amount, "comments": comments}
    return client.post("/api/credits/admin/add_credits", body, format="json", headers=headers)


def test_while_credits_are_disabled_everybody_has_a_hundred(
    api: APIClient, user: User, admin: User, client_of: Callable[[User], APIClient]
) -> None:
    assert api.get("/api/credits").json() == {"credits": 100}
    refused = adding(client_of(admin), user, 5)
    assert (refused.status_code, refused.json()["code"]) == (409, "credits_disabled")
    assert Transfer.objects.count() == 0


@pytest.mark.usefixtures("paid")
def test_a_balance_is_told_in_whole_credits(api: APIClient, user: User, anonymous: APIClient) -> None:
    assert api.get("/api/credits").json() == {"credits": 0}
    ledger.credit(user.pk, 7 * CREDIT - 1, kind=Kind.TOP_UP, key="topup:1")
    assert api.get("/api/credits").json() == {"credits": 6}
    assert anonymous.get("/api/credits").status_code == 401


def test_monthly_credits_fill_a_balance_up_once_in_a_month(api: APIClient, user: User, settings: Settings) -> None:
    settings.CREDITS = "monthly"
    with time_machine.travel("2026-01-31T23:59:00Z", tick=False):
        assert api.get("/api/credits").json() == {"credits": 1500}
        ledger.spend(user.pk, 400 * CREDIT, key="use:1")
        assert api.get("/api/credits").json() == {"credits": 1100}
    with time_machine.travel("2026-02-01T00:00:00Z", tick=False):
        assert api.get("/api/credits").json() == {"credits": 1500}
        ledger.credit(user.pk, 10 * CREDIT, kind=Kind.GRANT, key="grant:1")
    with time_machine.travel("2026-03-15T12:00:00Z", tick=False):
        assert balance_of(user.pk) == 1510 * CREDIT
    keys = Transfer.objects.filter(reason="Monthly credits").order_by("id").values_list("key", flat=True)
    assert list(keys) == [f"grant:monthly-2026-01:{user.pk}", f"grant:monthly-2026-02:{user.pk}"]


def test_what_is_on_hold_counts_when_a_balance_is_filled_up(api: APIClient, user: User, settings: Settings) -> None:
    settings.CREDITS = "monthly"
    own, shared, ended = uuid4(), uuid4(), uuid4()
    with time_machine.travel("2026-01-31T12:00:00Z", tick=False):
        assert api.get("/api/credits").json() == {"credits": 1500}
        wishes = [Wish(own, 600 * CREDIT), Wish(shared, 400 * CREDIT, is_shared=True), Wish(ended, 100 * CREDIT)]
        holds.place(user.pk, wishes)
        holds.release(ended)
        ledger.spend(user.pk, 200 * CREDIT, key="use:1")
        assert api.get("/api/credits").json() == {"credits": 300}
    with time_machine.travel("2026-02-01T12:00:00Z", tick=False):
        assert api.get("/api/credits").json() == {"credits": 500}
        holds.release(own)
        holds.release(shared)
        assert api.get("/api/credits").json() == {"credits": 1500}
    assert Transfer.objects.get(key=f"grant:monthly-2026-02:{user.pk}").amount == 200 * CREDIT


def test_a_balance_is_filled_up_to_the_same_while_holds_come_and_go(
    transactional_db: None, user: User, settings: Settings
) -> None:
    settings.CREDITS = "monthly"
    runs = [uuid4() for _ in range(40)]
    with time_machine.travel("2026-01-31T12:00:00Z"):
        assert balance_of(user.pk) == 1500 * CREDIT
    ledger.spend(user.pk, 300 * CREDIT, key="use:1")
    holds.place(user.pk, [Wish(run, 20 * CREDIT) for run in runs[::2]])

    def act(number: int) -> None:
        try:
            if number == len(runs) // 2:
                refill(user.pk)
            elif number % 2:
                holds.place(user.pk, [Wish(runs[number], 20 * CREDIT)])
            else:
                holds.release(runs[number])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(len(runs))))
    for run in runs:
        holds.release(run)
    assert ledger.settled_balance(user.pk) == 1500 * CREDIT


@pytest.mark.usefixtures("paid")
def test_an_administrator_gives_and_takes_with_a_reason(
    user: User, admin: User, client_of: Callable[[User], APIClient]
) -> None:
    given = adding(client_of(admin), user, 30)
    assert (given.status_code, given.json()["new_balance"]) == (200, 30)
    transfer = Transfer.objects.get(key=given.json()["transaction_key"])
    assert (transfer.kind, transfer.reason, transfer.metadata) == (
        "GRANT",
        "for the pilot",
        {"admin_id": str(admin.pk)},
    )
    assert adding(client_of(admin), user, -10).json()["new_balance"] == 20
    assert balance_of(user.pk) == 20 * CREDIT


@pytest.mark.usefixtures("paid")
@pytest.mark.parametrize(
    ("amount", "comments", "status", "code"),
    [(0, "why", 400, "amount_invalid"), (-31, "why", 402, "insufficient_credits"), (5, " ", 422, "request_invalid"),
     (1.5, "why", 422, "request_invalid"), (30.0, "why", 422, "request_invalid"),
     (True, "why", 422, "request_invalid"), ("30", "why", 422, "request_invalid"),
     ("1_000", "why", 422, "request_invalid"), ("many", "why", 422, "request_invalid"),
     (2**31, "why", 422, "request_invalid")],
)  # fmt: skip
def test_a_change_that_cannot_be_changes_nothing(
    user: User,
    admin: User,
    client_of: Callable[[User], APIClient],
    amount: object,
    comments: str,
    status: int,
    code: str,
) -> None:
    adding(client_of(admin), user, 30)
    refused = adding(client_of(admin), user, amount, comments)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert balance_of(user.pk) == 30 * CREDIT
    assert Transfer.objects.count() == 1


@pytest.mark.usefixtures("paid")
def test_nobody_changes_balances_in_the_name_of_another_administrator(
    anonymous: APIClient, user: User, admin: User, settings: Settings
) -> None:
    other = make.a_user(role=Role.ADMIN)
    settings.ADJUSTMENT_LIMIT = 1000
    token = {"Authorization": f"Bearer {issue_tokens(admin).access}"}
    assert adding(anonymous, user, 900, **token).status_code == 200
    refused = adding(anonymous, user, 900, **token, **{"X-Act-As-User-Id": str(other.pk)})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_while_impersonating")
    assert (balance_of(user.pk), Adjustment.objects.count()) == (900 * CREDIT, 0)


@pytest.mark.usefixtures("paid")
def test_a_change_asked_for_again_with_its_key_is_made_once(
    user: User, admin: User, client_of: Callable[[User], APIClient]
) -> None:
    answers = [adding(client_of(admin), user, 30, **{"Idempotency-Key": "x"}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert adding(client_of(admin), user, 31, **{"Idempotency-Key": "x"}).status_code == 409
    assert balance_of(user.pk) == 30 * CREDIT


@pytest.mark.usefixtures("paid")
def test_only_administrators_change_balances(api: APIClient, user: User, anonymous: APIClient) -> None:
    assert adding(api, user, 30).status_code == 403
    assert adding(anonymous, user, 30).status_code == 401
    assert balance_of(user.pk) == 0


@pytest.mark.usefixtures("paid")
def test_a_large_change_needs_another_administrator(
    user: User, admin: User, client_of: Callable[[User], APIClient], client: Any
) -> None:
    asked = adding(client_of(admin), user, 10_001)
    assert (asked.status_code, asked.json()["code"]) == (409, "needs_another")
    wish = Adjustment.objects.get(pk=asked.json()["adjustment_id"])
    page = "/admin/credits/adjustment/"
    approve = {"action": "approve", "_selected_action": str(wish.pk)}
    client.force_login(admin)
    assert "approves it" in client.post(page, approve, follow=True).content.decode()
    assert balance_of(user.pk) == 0
    other = make.a_user(role=Role.ADMIN)
    client.force_login(other)
    decided = client.post(page, approve, follow=True).content.decode()
    assert "1 adjustments are decided" in decided
    assert [f">{person.email}</td>" in decided for person in (user, admin, other)] == [True] * 3
    assert admin.email in client.get(f"{page}{wish.pk}/change/").content.decode()
    assert balance_of(user.pk) == 10_001 * CREDIT
    assert "decided this before" in client.post(page, approve, follow=True).content.decode()
    assert balance_of(user.pk) == 10_001 * CREDIT
    listed = client.get("/admin/credits/transfer/", {"q": user.email}).content.decode()
    assert f"adjust:{wish.pk}" in listed
    assert f'<td class="field-whose">{user.email}</td>' in listed
    assert '<td class="field-column">10,001</td>' in listed
    account = client.get("/admin/credits/account/", {"q": str(user.pk)}).content.decode()
    assert f">{user.email}</a>" in account
    shown = client.get(f"/admin/credits/account/{user.pk}/change/").content.decode()
    assert '<div class="readonly">10,001</div>' in shown
    assert str(10_001 * CREDIT) not in shown


def test_books_that_nobody_searched_in_show_all_rows_those_of_users_who_are_gone_too(
    user: User, admin: User, client: Any
) -> None:
    for_all = {"day": date(2026, 9, 1), "kind": Kind.USAGE, "change": -CREDIT, "count": 1}
    gone = uuid4()
    DayTotal.objects.bulk_create(DayTotal(user_id=of, **for_all) for of in (user.pk, gone))
    client.force_login(admin)

    def named(**search: str) -> list[bool]:
        listed = client.get("/admin/credits/daytotal/", search).content.decode()
        return [f">{name}</td>" in listed for name in (user.email, gone)]

    assert named() == named(q=" ") == [True, True]
    assert named(q=str(gone)) == [False, True]
    assert named(q=user.email) == [True, False]


@pytest.mark.usefixtures("paid")
def test_a_large_change_is_asked_for_once_with_its_key(
    user: User, admin: User, client_of: Callable[[User], APIClient]
) -> None:
    def ask(amount: int, comments: str = "for the pilot", key: str = "x", asking: User = admin) -> tuple[int, Any]:
        answer = adding(client_of(asking), user, amount, comments, **{"Idempotency-Key": key})
        return answer.status_code, answer.json()

    first = ask(10_001)
    assert (first[0], first[1]["code"]) == (409, "needs_another")
    again = ask(10_001)
    assert (again[0], again[1]["adjustment_id"]) == (409, first[1]["adjustment_id"])
    for other in [ask(10_002), ask(30), ask(10_001, "for another pilot")]:
        assert (other[0], other[1]["code"]) == (409, "key_taken")
    assert (Adjustment.objects.count(), balance_of(user.pk)) == (1, 0)

    another = make.a_user(role=Role.ADMIN)
    assert ask(10_001, asking=another)[1]["code"] == "needs_another"
    assert ask(10_001, key="y")[1]["code"] == "needs_another"
    assert Adjustment.objects.count() == 3

    wish = Adjustment.objects.get(pk=first[1]["adjustment_id"])
    decide(another, wish.pk, approve=True)
    assert ask(10_001) == (200, {"new_balance": 10_001, "transaction_key": f"adjust:{wish.pk}"})
    assert ask(10_002)[1]["code"] == "key_taken"
    assert (Adjustment.objects.count(), balance_of(user.pk)) == (3, 10_001 * CREDIT)


@pytest.mark.usefixtures("paid")
def test_the_key_of_a_change_that_was_made_or_refused_asks_for_nothing(
    user: User, admin: User, client_of: Callable[[User], APIClient]
) -> None:
    assert adding(client_of(admin), user, 30, **{"Idempotency-Key": "small"}).status_code == 200
    assert adding(client_of(admin), user, 10_001, **{"Idempotency-Key": "small"}).json()["code"] == "key_taken"
    assert Adjustment.objects.count() == 0
    asked = adding(client_of(admin), user, 10_001, **{"Idempotency-Key": "large"}).json()
    decide(admin, UUID(asked["adjustment_id"]), approve=False)
    refused = adding(client_of(admin), user, 10_001, **{"Idempotency-Key": "large"})
    assert (refused.status_code, refused.json()["code"]) == (409, "decided_before")
    assert (Adjustment.objects.count(), balance_of(user.pk)) == (1, 30 * CREDIT)


def test_many_that_ask_for_a_large_change_with_one_key_ask_once(
    paid: None, transactional_db: None, user: User, admin: User
) -> None:
    def ask(_: int) -> str:
        try:
            with pytest.raises(NeedsAnother) as asked:
                adjust(admin, user.pk, 20_000 * CREDIT, reason="for the pilot", request_key="x")
            return str(asked.value.data["adjustment_id"])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(ask, range(16)))
    assert ids == {str(Adjustment.objects.get().pk)}
