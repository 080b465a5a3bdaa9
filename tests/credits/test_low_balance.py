"""Telling people that their credits run low: once, whoever notices, until they get new ones."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from accounts.models import User
from credits import ledger
from credits.kinds import CREDIT, Kind
from credits.models import Account, LowBalance
from notifications import queue
from notifications.models import Notification
from tests import make
from tests.accounts.mailbox import delivered


def give(user: User, amount: int, key: str, kind: Kind = Kind.TOP_UP) -> None:
    ledger.credit(user.pk, amount * CREDIT, kind=kind, key=key)


def use(user: User, amount: int, key: str) -> None:
    ledger.spend(user.pk, amount * CREDIT, key=key)


def told() -> list[tuple[UUID, str, dict[str, Any]]]:
    return list(Notification.objects.order_by("created_at").values_list("user_id", "kind", "data"))


@pytest.mark.django_db
def test_who_falls_below_the_mark_is_told_with_the_charge(user: User) -> None:
    give(user, 600, "topup:1")
    use(user, 100, "use:1")
    assert told() == []
    use(user, 1, "use:2")
    use(user, 1, "use:3")
    assert told() == [(user.pk, "LOW_BALANCE", {"balance": 499_000_000, "below": 500_000_000})]


@pytest.mark.django_db
def test_it_is_told_again_only_after_a_top_up_or_a_grant(user: User) -> None:
    give(user, 501, "topup:1")
    for turn in range(3):
        use(user, 2, f"use:{turn}")
        # What a run had set aside comes back: nothing new.
        Account.objects.filter(user_id=user.pk).update(balance=501 * CREDIT)
    assert len(told()) == 1
    give(user, 100, "topup:2")
    use(user, 102, "use:more")
    assert len(told()) == 2
    give(user, 100, "grant:1", Kind.GRANT)
    use(user, 100, "use:again")
    assert len(told()) == 3


@pytest.mark.django_db
def test_a_charge_that_is_taken_back_is_not_told(user: User) -> None:
    give(user, 500, "topup:1")
    with transaction.atomic():
        use(user, 1, "use:1")
        assert len(told()) == 1
        transaction.set_rollback(True)
    assert told() == []


def test_many_who_spend_at_once_tell_it_once(transactional_db: None) -> None:
    user = make.a_user()
    give(user, 520, "topup:1")

    def spend(number: int) -> None:
        try:
            use(user, 1, f"use:{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend, range(60)))
    assert [kind for _, kind, _ in told()] == ["LOW_BALANCE"]
    queue.send_mails()
    assert [message.to for message in delivered()] == [[user.email]]


@pytest.mark.django_db
def test_operators_choose_the_mark(client: Any, admin: User, user: User) -> None:
    client.force_login(admin)
    assert "multiple of step size 10" in client.post("/admin/credits/lowbalance/add/", {"below": "25"}).content.decode()
    assert not LowBalance.objects.exists()
    added = client.post("/admin/credits/lowbalance/add/", {"below": "20"}, follow=True)
    assert added.status_code == 200
    give(user, 100, "topup:1")
    use(user, 80, "use:1")
    assert told() == []
    use(user, 1, "use:2")
    assert told() == [(user.pk, "LOW_BALANCE", {"balance": 19_000_000, "below": 20_000_000})]
    assert client.get("/admin/credits/lowbalance/add/").status_code == 403
    client.post("/admin/credits/lowbalance/1/change/", {"below": "0"}, follow=True)
    give(user, 1, "topup:2")
    use(user, 20, "use:3")
    assert len(told()) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [(500_000_000, 499_999_999, True), (500_000_001, 500_000_000, False), (2_000_000_000, 0, True),
     (500_000_000, -1, True), (499_999_999, 1, False)],
)  # fmt: skip
def test_falling_below_means_exactly_that(user: User, before: int, after: int, is_told: bool) -> None:
    Account.objects.create(user=user, balance=before)
    Account.objects.filter(user=user).update(balance=after, floor=min(after, 0))
    assert bool(told()) == is_told


@pytest.mark.django_db
@pytest.mark.parametrize(("below", "after", "is_told"), [(0, -1, False), (0, -30, False), (3000, 2999, True)])
def test_the_mark_may_be_nothing_or_large(user: User, below: int, after: int, is_told: bool) -> None:
    LowBalance.objects.create(pk=1, below=below)
    give(user, 3000, "topup:1")
    ledger.take_back(user.pk, (3000 - after) * CREDIT, key="refund:1")
    assert ledger.settled_balance(user.pk) == after * CREDIT
    assert bool(told()) == is_told


@pytest.mark.django_db
def test_a_charge_of_a_deleted_user_stands() -> None:
    user = make.a_user()
    give(user, 500, "topup:1")
    user_id = user.pk
    user.delete()
    ledger.spend(user_id, CREDIT, key="use:1")
    assert ledger.settled_balance(user_id) == 499 * CREDIT
