"""The tests of the ledger can fail: without each of its guards they see credits appear or vanish."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.db import connection

from credits import ledger
from credits.kinds import PARTY_OF, Kind, Party
from credits.ledger import Posted
from credits.models import Account, Transfer
from tests.credits import test_ledger


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


MUTANTS: dict[str, tuple[Callable[..., None], Callable[[pytest.MonkeyPatch], None]]] = {
    "no unique key": (test_ledger.test_a_hundred_deliveries_of_one_top_up_credit_once, no_unique_key),
    "unlocked balance": (test_ledger.test_a_hundred_spend_one_at_a_balance_of_37, unlocked_balance),
}


def test_the_ledger_as_it_is_passes_however_slow(a_hundred_connections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    test_ledger.test_a_hundred_deliveries_of_one_top_up_credit_once(None, 1)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_ledger_without_this_guard_is_caught(
    a_hundred_connections: None, turns: int, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scenario, mutate = MUTANTS[name]
    mutate(monkeypatch)
    try:
        with pytest.raises(AssertionError):
            scenario(None, turns)
    finally:
        if name == "no unique key":
            with connection.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica; TRUNCATE credits_transfer")
                cursor.execute("SET session_replication_role = origin")
                cursor.execute("ALTER TABLE credits_transfer ADD CONSTRAINT transfers_are_made_once UNIQUE (key)")
