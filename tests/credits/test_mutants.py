"""The tests of the ledger can fail: without each of its guards they see credits appear or vanish."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from inspect import signature
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection

from credits import balances, holds, ledger
from credits.kinds import PARTY_OF, Kind, Party
from credits.ledger import Posted
from credits.models import Account, Adjustment, Hold, Transfer
from credits.models.books import AccountQuerySet, AdjustmentQuerySet
from executions.engine import purse
from tests.credits import test_balances, test_ledger, test_locks


def slowly(patch: pytest.MonkeyPatch) -> None:
    """Whoever looked whether a key is taken waits a little before it goes on, so that others look as well."""
    guard = "WHERE NOT EXISTS (SELECT FROM credits_transfer WHERE key = %(key)s)"
    assert guard in ledger._GIVE
    patch.setattr(ledger, "_GIVE", ledger._GIVE.replace(guard, f"{guard} AND pg_sleep(0.02) IS NOT NULL"))


def no_unique_key(patch: pytest.MonkeyPatch) -> None:
    """A key may be there twice, and whoever comes looks before and not while it is written."""
    slowly(patch)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE credits_transfer DROP CONSTRAINT transfers_are_made_once")


def unlocked_balance(patch: pytest.MonkeyPatch) -> None:
    """A balance is read, and then written."""

    def post(statement: str, arguments: Mapping[str, Any]) -> Posted | None:
        user_id, amount = arguments["user"], arguments["amount"]
        if statement == ledger._GIVE:
            amount = -amount
        balance = ledger.settled_balance(user_id) - amount
        if balance < 0:
            return None
        Account.objects.update_or_create(user_id=user_id, defaults={"balance": balance})
        kind = Kind(arguments["kind"])
        sides = {"debit": Party.USER, "credit": PARTY_OF[kind]}
        if amount < 0:
            sides = {"debit": PARTY_OF[kind], "credit": Party.USER}
        made = Transfer.objects.create(key=arguments["key"], user_id=user_id, amount=abs(amount), kind=kind, **sides)
        return Posted(made.pk, balance, is_new=True)

    patch.setattr(ledger, "_post", post)


_READ_SLOWLY = "AND pg_sleep(0.02) IS NOT NULL"


def starting_without_lock(patch: pytest.MonkeyPatch) -> None:
    """Runs that start look at the balance, and then set something aside."""
    assert holds._PLACE.count("FOR UPDATE") == 1
    patch.setattr(holds, "_PLACE", holds._PLACE.replace("FOR UPDATE", _READ_SLOWLY))


def extending_without_lock(patch: pytest.MonkeyPatch) -> None:
    """Runs that need more look at the balance, and then set more aside."""
    assert purse._RESERVE.count("FOR UPDATE OF a\n") == 1
    patch.setattr(purse, "_RESERVE", purse._RESERVE.replace("FOR UPDATE OF a\n", f"{_READ_SLOWLY}\n"))


def refilling_without_lock(patch: pytest.MonkeyPatch) -> None:
    """The balance is read, and then what is on hold; between the two, all that is on hold comes back."""
    on_hold = balances._on_hold

    def come_back(user_id: UUID) -> None:
        with closing(connection):
            for hold in Hold.objects.filter(user_id=user_id, released_at=None):
                holds.release(hold.run_id)

    def later(user_id: UUID) -> int:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(come_back, user_id).result()
        return on_hold(user_id)

    patch.setattr(AccountQuerySet, "locked", lambda self, user_id: self.filter(user_id=user_id).first())
    patch.setattr(balances, "_on_hold", later)


def deciding_without_lock(patch: pytest.MonkeyPatch) -> None:
    """An administrator sees that nobody has decided, and then decides."""

    def read(self: AdjustmentQuerySet, adjustment_id: UUID) -> Adjustment | None:
        found = self.filter(pk=adjustment_id).first()
        time.sleep(0.05)
        return found

    patch.setattr(AdjustmentQuerySet, "locked", read)


MUTANTS: dict[str, tuple[Callable[..., None], Callable[[pytest.MonkeyPatch], None]]] = {
    "no unique key": (test_ledger.test_a_hundred_deliveries_of_one_top_up_credit_once, no_unique_key),
    "unlocked balance": (test_ledger.test_a_hundred_spend_one_at_a_balance_of_37, unlocked_balance),
    "unlocked balance of runs that start": (
        test_locks.test_a_hundred_runs_that_start_set_aside_one_at_a_balance_of_37,
        starting_without_lock,
    ),
    "unlocked balance of runs under way": (
        test_locks.test_runs_under_way_need_one_more_a_hundred_times_at_a_balance_of_37,
        extending_without_lock,
    ),
    "unlocked balance that is filled up": (
        test_balances.test_a_balance_is_filled_up_to_the_same_while_holds_come_and_go,
        refilling_without_lock,
    ),
    "unlocked change by administrators": (
        test_locks.test_of_those_who_decide_about_a_large_change_one_does,
        deciding_without_lock,
    ),
}


def test_the_ledger_as_it_is_passes_however_slow(a_hundred_connections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    test_ledger.test_a_hundred_deliveries_of_one_top_up_credit_once(None, 1)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_ledger_without_this_guard_is_caught(
    a_hundred_connections: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    scenario, mutate = MUTANTS[name]
    needed = {fixture: request.getfixturevalue(fixture) for fixture in signature(scenario).parameters}
    mutate(monkeypatch)
    try:
        # Constraints see some of it first.
        with pytest.raises((AssertionError, IntegrityError)):
            scenario(**needed)
    finally:
        if name == "no unique key":
            with connection.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica; TRUNCATE credits_transfer")
                cursor.execute("SET session_replication_role = origin")
                cursor.execute("ALTER TABLE credits_transfer ADD CONSTRAINT transfers_are_made_once UNIQUE (key)")
