"""Moving credits."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum

from core.errors import DomainError
from credits import holds, ledger
from credits.errors import AmountInvalid, InsufficientCredits, KeyTaken
from credits.holds import Wish
from credits.kinds import CREDIT, MOST, Kind, Party
from credits.models import Account, Hold, Transfer
from tests.waiting import wait_until

USER = UUID(int=7)


def books() -> tuple[dict[UUID, int], int]:
    """Every balance, and how many transfers there are."""
    return dict(Account.objects.values_list("user_id", "balance")), Transfer.objects.count()


def give(amount: int, key: str = "grant:start:7", user_id: UUID = USER) -> None:
    ledger.credit(user_id, amount, kind=Kind.GRANT, key=key)


@pytest.mark.django_db
def test_a_transfer_says_between_whom_how_much_moved_and_why() -> None:
    posted = ledger.credit(
        USER, 5 * CREDIT, kind=Kind.TOP_UP, key="topup:pi_1", reason="Top-up", metadata={"payment": "pi_1"}
    )

    assert (posted.balance, posted.is_new) == (5 * CREDIT, True)
    transfer = Transfer.objects.get(pk=posted.transfer_id)
    assert (transfer.user_id, transfer.debit, transfer.credit) == (USER, Party.CLEARING, Party.USER)
    assert (transfer.amount, transfer.kind, transfer.reason, transfer.metadata, transfer.change) == (
        5 * CREDIT, "TOP_UP", "Top-up", {"payment": "pi_1"}, 5 * CREDIT,
    )  # fmt: skip
    spent = ledger.spend(USER, 2 * CREDIT, key="use:1")
    assert (spent.balance, Transfer.objects.get(pk=spent.transfer_id).change) == (3 * CREDIT, -2 * CREDIT)


@pytest.mark.django_db
def test_a_key_moves_credits_once() -> None:
    give(10)
    again = ledger.credit(USER, 10, kind=Kind.GRANT, key="grant:start:7", reason="the same")

    assert (again.is_new, again.balance) == (False, 10)
    first, second = ledger.spend(USER, 4, key="use:1"), ledger.spend(USER, 4, key="use:1")
    assert (first.is_new, second.is_new, first.transfer_id) == (True, False, second.transfer_id)
    assert books() == ({USER: 6}, 2)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("user_id", "amount", "kind"), [(USER, 11, Kind.GRANT), (USER, 10, Kind.TOP_UP), (UUID(int=8), 10, Kind.GRANT)]
)
def test_a_key_that_stands_for_another_transfer_is_refused(user_id: UUID, amount: int, kind: Kind) -> None:
    give(10)
    with pytest.raises(KeyTaken):
        ledger.credit(user_id, amount, kind=kind, key="grant:start:7")
    with pytest.raises(KeyTaken):
        ledger.spend(USER, 10, kind=Kind.GRANT, key="grant:start:7")
    assert books() == ({USER: 10}, 1)


@pytest.mark.django_db
def test_nobody_spends_what_they_do_not_have() -> None:
    give(10)
    with pytest.raises(InsufficientCredits, match=r"takes 0\.000011 credits, and the balance is 0\.00001") as refusal:
        ledger.spend(USER, 11, key="use:1")
    assert (refusal.value.status, refusal.value.code) == (402, "insufficient_credits")
    with pytest.raises(InsufficientCredits):
        ledger.spend(uuid4(), 1, key="use:2")
    assert books() == ({USER: 10}, 1)


@pytest.mark.django_db
@pytest.mark.parametrize("amount", [0, -1, 1.5, "10", None, True, MOST + 1, 2**63, 10**40])
def test_an_amount_that_is_none_is_refused(amount: Any) -> None:
    give(10)
    for move in (lambda: give(amount, "k"), lambda: ledger.spend(USER, amount, key="k"),
                 lambda: ledger.take_back(USER, amount, key="k")):  # fmt: skip
        with pytest.raises(AmountInvalid):
            move()
    assert books() == ({USER: 10}, 1)


@pytest.mark.django_db
def test_a_balance_stays_within_what_clients_can_count() -> None:
    give(MOST)
    with pytest.raises(AmountInvalid, match=r"more than 2,147,483,647 credits"):
        give(1, "one more")
    other = UUID(int=8)
    ledger.take_back(other, MOST, key="refund:1")
    with pytest.raises(AmountInvalid, match="owe more"):
        ledger.take_back(other, 1, key="refund:2")
    assert books() == ({USER: MOST, other: -MOST}, 2)


@pytest.mark.django_db
def test_what_is_on_hold_has_room_to_come_back() -> None:
    give(MOST)
    runs = [uuid4(), uuid4()]
    holds.place(USER, [Wish(run_id, 5) for run_id in runs])
    with pytest.raises(AmountInvalid, match="with what runs have set aside"):
        give(1, "one more")
    holds.release(runs[0])
    assert books() == ({USER: MOST - 5}, 1)
    ledger.spend(USER, 3, key="use:1")
    give(3, "three more")
    with pytest.raises(AmountInvalid):
        give(1, "one more")
    Hold.objects.update(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert holds.expire() == 1
    assert books() == ({USER: MOST}, 3)


@pytest.mark.django_db(transaction=True)
def test_what_is_set_aside_while_credits_are_on_their_way_has_room_to_come_back() -> None:
    give(MOST)
    run_id = uuid4()

    def more() -> str:
        with closing(connection):
            give(5, "five more")
        return "given"

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            holds.place(USER, [Wish(run_id, 5)])
            given = pool.submit(more)
            wait_until(somebody_waits_for_us)
        with pytest.raises(AmountInvalid):
            given.result(10)
    holds.release(run_id)
    assert books() == ({USER: MOST}, 1)


def somebody_waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db
def test_a_dispute_may_put_a_user_in_debt_and_what_comes_next_pays_it() -> None:
    give(10)
    assert ledger.take_back(USER, 25, key="refund:dp_1").balance == -15
    give(5, "topup:2")
    assert ledger.settled_balance(USER) == -10
    for amount in (1, 5):
        with pytest.raises(InsufficientCredits):
            ledger.spend(USER, amount, key="use:1")
    give(20, "topup:3")
    assert ledger.spend(USER, 10, key="use:1").balance == 0
    with pytest.raises(InsufficientCredits):
        ledger.spend(USER, 1, key="use:2")


@pytest.mark.django_db
def test_the_check_of_a_card_is_written_down_and_moves_nothing() -> None:
    assert ledger.record_card_check(USER, key="check:si_1").is_new
    assert not ledger.record_card_check(USER, key="check:si_1").is_new
    assert Transfer.objects.get().amount == 0
    assert ledger.settled_balance(USER) == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    ["UPDATE credits_transfer SET amount = 1", "DELETE FROM credits_transfer", "TRUNCATE credits_transfer"],
)
def test_the_books_are_never_rewritten(statement: str) -> None:
    give(10)
    with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic():
        connection.cursor().execute(statement)
    assert books() == ({USER: 10}, 1)


@pytest.mark.django_db
def test_what_is_part_of_a_larger_transaction_is_taken_back_with_it() -> None:
    give(10)
    with transaction.atomic():
        ledger.spend(USER, 5, key="use:1")
        transaction.set_rollback(True)
    assert books() == ({USER: 10}, 1)


def at_once(count: int, work: Any) -> Counter[Any]:
    """What `work`, called with each number below `count` at the same time, comes to: its answers or errors, counted."""
    gate = Barrier(count)

    def call(number: int) -> Any:
        connection.ensure_connection()
        gate.wait(30)
        try:
            return work(number)
        except DomainError as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(call, range(count)))


@pytest.mark.timeout(1200)
def test_a_hundred_spend_one_at_a_balance_of_37(a_hundred_connections: None, turns: int) -> None:
    for turn in range(turns):
        user_id = UUID(int=turn)
        give(37, f"grant:{turn}", user_id)
        seen = at_once(100, lambda n, t=turn, u=user_id: ledger.spend(u, 1, key=f"use:{t}:{n}").is_new)
        assert seen == {True: 37, "insufficient_credits": 63}
        assert ledger.settled_balance(user_id) == 0
        assert Transfer.objects.filter(user_id=user_id, kind=Kind.USAGE).aggregate(spent=Sum("amount"))["spent"] == 37


@pytest.mark.timeout(1200)
def test_a_hundred_deliveries_of_one_top_up_credit_once(a_hundred_connections: None, turns: int) -> None:
    for turn in range(turns):
        user_id = UUID(int=turn)
        seen = at_once(
            100, lambda n, t=turn, u=user_id: ledger.credit(u, 500, kind=Kind.TOP_UP, key=f"topup:pi_{t}").is_new
        )
        assert seen == {True: 1, False: 99}
        assert ledger.settled_balance(user_id) == 500
