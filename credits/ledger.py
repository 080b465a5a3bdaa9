"""Moving credits: every change of a balance and the transfer that explains it are one statement.

A key stands for one transfer for ever: asked for again, nothing moves and the answer tells of the first time. All
amounts are whole micro-credits. Each function may be part of a larger transaction; what it refuses has not happened.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from core import json
from core.sql import fetch_prepared
from credits.errors import AmountInvalid, InsufficientCredits, KeyTaken, shown
from credits.kinds import MOST, PARTY_OF, Kind, Party
from credits.models import Account, Transfer

MAX_KEY = 200

# Whoever is there at the same time with the same key waits for the account, and then finds the key taken. What is on
# hold may come back at any time, and must fit then; it changes only while the account is locked.
_GIVE = """
WITH account AS (
    INSERT INTO credits_account AS a (user_id, balance)
    SELECT %(user)s, %(amount)s::bigint WHERE NOT EXISTS (SELECT FROM credits_transfer WHERE key = %(key)s)
    ON CONFLICT (user_id) DO UPDATE SET
        balance = a.balance + excluded.balance, floor = LEAST(0, a.balance + excluded.balance)
    WHERE a.balance <= %(most)s - excluded.balance - credits_on_hold(a.user_id)
    RETURNING user_id, balance
)
INSERT INTO credits_transfer (key, user_id, debit, credit, amount, kind, reason, metadata, run_id)
SELECT %(key)s, user_id, %(party)s, 'user', %(amount)s, %(kind)s, %(reason)s, %(metadata)s::jsonb, %(run)s::uuid
FROM account
RETURNING id, (SELECT balance FROM account)
"""

_TAKE = """
WITH account AS (
    UPDATE credits_account SET
        balance = balance - %(amount)s::bigint,
        floor = CASE WHEN %(may_owe)s THEN LEAST(floor, balance - %(amount)s) ELSE floor END
    WHERE user_id = %(user)s AND balance - %(amount)s >= CASE WHEN %(may_owe)s THEN -%(most)s::bigint ELSE floor END
        AND NOT EXISTS (SELECT FROM credits_transfer WHERE key = %(key)s)
    RETURNING user_id, balance
)
INSERT INTO credits_transfer (key, user_id, debit, credit, amount, kind, reason, metadata, run_id)
SELECT %(key)s, user_id, 'user', %(party)s, %(amount)s, %(kind)s, %(reason)s, %(metadata)s::jsonb, %(run)s::uuid
FROM account
RETURNING id, (SELECT balance FROM account)
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """A transfer that stands in the books. `is_new` says whether this call made it; `balance` is what is left now."""

    transfer_id: int
    balance: int
    is_new: bool


def credit(
    user_id: UUID,
    amount: int,
    *,
    kind: Kind,
    key: str,
    reason: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Posted:
    """Give a user credits; what they owe is paid first.

    Raises `AmountInvalid`, also when nobody can have as much, with what their runs have set aside, and `KeyTaken`.
    """
    arguments = _arguments(user_id, amount, kind, key, reason, metadata)
    posted = _post(_GIVE, arguments) or _known(arguments, Party.USER)
    if posted is None:
        raise AmountInvalid(f"Nobody can have more than {shown(MOST)} credits, with what runs have set aside")
    return posted


def spend(
    user_id: UUID,
    amount: int,
    *,
    key: str,
    kind: Kind = Kind.USAGE,
    reason: str = "",
    metadata: Mapping[str, Any] | None = None,
    run_id: UUID | None = None,
) -> Posted:
    """Take credits that the user has. Raises `InsufficientCredits`, `AmountInvalid` and `KeyTaken`."""
    arguments = _arguments(user_id, amount, kind, key, reason, metadata, run_id)
    posted = _post(_TAKE, arguments) or _known(arguments, PARTY_OF[kind])
    if posted is None:
        raise InsufficientCredits(balance=settled_balance(user_id), needed=amount)
    return posted


def take_back(
    user_id: UUID,
    amount: int,
    *,
    key: str,
    kind: Kind = Kind.REFUND,
    reason: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Posted:
    """Take credits whether the user has them or not: they may owe them then, until the next ones come.

    For money that is gone already, such as a refund or a lost dispute. Raises `AmountInvalid` and `KeyTaken`.
    """
    arguments = {**_arguments(user_id, amount, kind, key, reason, metadata), "may_owe": True}
    Account.objects.bulk_create([Account(user_id=user_id)], ignore_conflicts=True)
    posted = _post(_TAKE, arguments) or _known(arguments, PARTY_OF[kind])
    if posted is None:
        raise AmountInvalid(f"Nobody can owe more than {shown(MOST)} credits")
    return posted


def record_card_check(user_id: UUID, *, key: str, metadata: Mapping[str, Any] | None = None) -> Posted:
    """Write down that a user's card was checked; nothing moves. Raises `KeyTaken`."""
    arguments = {**_arguments(user_id, 1, Kind.CARD_CHECK, key, "", metadata), "amount": 0}
    posted = _post(_GIVE, arguments) or _known(arguments, Party.USER)
    if posted is None:
        raise KeyTaken(key=key)
    return posted


def settled_balance(user_id: UUID) -> int:
    """What a user can spend now; 0 for one who never had anything."""
    return Account.objects.filter(user_id=user_id).values_list("balance", flat=True).first() or 0


def check_amount(amount: object) -> int:
    """The amount, if it is a whole number above 0 that somebody can have; raises `AmountInvalid`."""
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise AmountInvalid(f"An amount is a whole number of micro-credits, not {amount!r:.80}")
    if amount <= 0:
        raise AmountInvalid(f"An amount is above 0; {amount} is not")
    if amount > MOST:
        raise AmountInvalid(f"An amount is at most {shown(MOST)} credits")
    return amount


def _arguments(
    user_id: UUID,
    amount: int,
    kind: Kind,
    key: str,
    reason: str,
    metadata: Mapping[str, Any] | None,
    run_id: UUID | None = None,
) -> dict[str, Any]:
    if not 0 < len(key) <= MAX_KEY:
        raise KeyTaken(f"A key has 1 to {MAX_KEY} characters")
    return {
        "user": user_id,
        "amount": check_amount(amount),
        "kind": kind.value,
        "party": PARTY_OF[kind].value,
        "key": key,
        "reason": reason,
        "metadata": json.encode(dict(metadata or {})).decode(),
        "run": run_id,
        "most": MOST,
        "may_owe": False,
    }


def _post(statement: str, arguments: Mapping[str, Any]) -> Posted | None:
    """Run one of the statements above; None when it moved nothing."""
    try:
        with _savepoint():
            rows = fetch_prepared(statement, arguments)
    except IntegrityError:
        # Somebody else came first with this key.
        return None
    return next((Posted(transfer_id, balance, is_new=True) for transfer_id, balance in rows), None)


def _savepoint() -> AbstractContextManager[object]:
    """What keeps a larger transaction usable when a statement fails; one that stands alone needs none."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


def _known(arguments: Mapping[str, Any], credit: Party) -> Posted | None:
    """The transfer that was made with this key before, if it says the same; raises `KeyTaken`."""
    transfer = Transfer.objects.filter(key=arguments["key"]).first()
    if transfer is None:
        return None
    before: Sequence[object] = (transfer.user_id, transfer.amount, transfer.kind, transfer.credit)
    if before != (arguments["user"], arguments["amount"], arguments["kind"], credit.value):
        raise KeyTaken(key=transfer.key)
    return Posted(transfer.pk, settled_balance(arguments["user"]), is_new=False)
