"""Setting credits aside for runs, from the services' side; drivers do so in statements of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from core.sql import fetch_prepared
from credits.errors import KeyBudgetUsedUp

# How long a hold that nobody uses keeps credits from other uses.
HOURS = 48

# Parts of a statement that sets credits aside for the runs in its part `wanted`: run_id, amount, cap, is_shared, place.
# Together no more than the balance: the first get what they ask for. The account is locked after what `wanted` locks.
PLACING = f"""
payer AS MATERIALIZED (
    SELECT balance FROM credits_account
    WHERE user_id = %(user)s AND (SELECT count(*) FROM wanted) > 0 FOR UPDATE
), granted AS MATERIALIZED (
    SELECT run_id, cap, is_shared, GREATEST(LEAST(amount, COALESCE((SELECT balance FROM payer), 0)
        - (sum(amount) OVER (ORDER BY place) - amount)), 0)::bigint AS amount
    FROM wanted
), paid AS (
    UPDATE credits_account a SET balance = a.balance - due.amount
    FROM (SELECT sum(amount)::bigint AS amount FROM granted) AS due WHERE a.user_id = %(user)s AND due.amount > 0
), held AS (
    INSERT INTO credits_hold (run_id, root_id, user_id, amount, pool, taken, cap, expires_at)
    SELECT run_id, run_id, %(user)s, CASE WHEN is_shared THEN 0 ELSE amount END,
        CASE WHEN is_shared THEN amount ELSE 0 END, CASE WHEN is_shared THEN 0 ELSE amount END, cap,
        clock_timestamp() + make_interval(hours => {HOURS})
    FROM granted
)"""  # noqa: S608  no outside text

_PLACE = f"""
WITH wanted AS (
    SELECT run_id, amount, cap, is_shared, place
    FROM unnest(%(runs)s::uuid[], %(amounts)s::bigint[], %(caps)s::bigint[], %(shared)s::boolean[])
        WITH ORDINALITY AS w(run_id, amount, cap, is_shared, place)
), {PLACING}
SELECT run_id FROM granted
"""  # noqa: S608  no outside text

# Nothing is set aside ahead, so that no run keeps from others of the key what it may never need. One that is likely to
# cost something does not begin when nothing is left.
_PLACE_FOR_KEY = """
INSERT INTO credits_hold (run_id, root_id, user_id, cap, key_id, expires_at)
SELECT w.run_id, w.run_id, %(user)s, w.cap, k.id, clock_timestamp() + make_interval(hours => %(hours)s)
FROM unnest(%(runs)s::uuid[], %(caps)s::bigint[], %(costly)s::boolean[]) AS w(run_id, cap, is_costly), accounts_apikey k
WHERE k.id = %(key)s
    AND (NOT w.is_costly OR k.max_credits IS NULL OR k.credits_taken < k.max_credits * 1000000)
RETURNING run_id
"""

# What is left goes back to the balance and the key; a run that others belong to takes what they may still take with it.
_RELEASE = """
WITH held AS MATERIALIZED (
    SELECT run_id, root_id, user_id, key_id, amount, pool FROM credits_hold
    WHERE run_id = %(run)s AND released_at IS NULL FOR UPDATE
), emptied AS (
    UPDATE credits_hold h SET
        amount = CASE WHEN h.run_id = held.run_id THEN 0 ELSE h.amount END,
        pool = CASE WHEN h.run_id = held.run_id THEN 0 ELSE h.pool END,
        taken = h.taken - CASE WHEN h.run_id = held.root_id THEN held.amount ELSE 0 END,
        released_at = CASE WHEN h.run_id = held.run_id THEN clock_timestamp() ELSE h.released_at END
    FROM held WHERE h.run_id = held.run_id OR h.run_id = held.root_id
), account AS (
    UPDATE credits_account a SET
        balance = a.balance + held.amount + held.pool, floor = LEAST(0, a.balance + held.amount + held.pool)
    FROM held WHERE a.user_id = held.user_id AND held.amount + held.pool > 0
    RETURNING a.user_id
)
UPDATE accounts_apikey k SET credits_taken = k.credits_taken - (held.amount + held.pool)
FROM held WHERE k.id = held.key_id AND held.amount + held.pool > 0 AND (SELECT count(*) FROM account) >= 0
"""

# Whoever holds for a family is emptied together with what its first run says that the family has taken. One of which
# either is in use is left for the next time: nobody waits for a lock while others may wait for theirs.
_EXPIRE = """
WITH due AS MATERIALIZED (
    SELECT run_id, root_id FROM credits_hold
    WHERE released_at IS NULL AND expires_at < clock_timestamp() AND amount + pool > 0
    ORDER BY run_id LIMIT 1000
), locked AS MATERIALIZED (
    SELECT run_id, root_id, user_id, key_id, amount, pool, expires_at FROM credits_hold
    WHERE run_id IN (SELECT run_id FROM due UNION SELECT root_id FROM due)
    ORDER BY run_id FOR UPDATE SKIP LOCKED
), held AS MATERIALIZED (
    SELECT own.* FROM locked own
    WHERE own.expires_at < clock_timestamp() AND own.amount + own.pool > 0 AND (
        own.root_id IN (SELECT run_id FROM locked)
        OR NOT EXISTS (SELECT FROM credits_hold root WHERE root.run_id = own.root_id))
), changes AS MATERIALIZED (
    SELECT run_id, bool_or(is_own) AS is_emptied, sum(unused)::bigint AS unused FROM (
        SELECT run_id, true, 0 FROM held UNION ALL SELECT root_id, false, amount FROM held
    ) AS part(run_id, is_own, unused) GROUP BY run_id
), emptied AS (
    UPDATE credits_hold h SET
        amount = CASE WHEN c.is_emptied THEN 0 ELSE h.amount END,
        pool = CASE WHEN c.is_emptied THEN 0 ELSE h.pool END,
        taken = h.taken - c.unused
    FROM changes c WHERE h.run_id = c.run_id
), owed AS (
    SELECT user_id, sum(amount + pool)::bigint AS amount FROM held GROUP BY user_id
), account AS (
    UPDATE credits_account a SET balance = a.balance + owed.amount, floor = LEAST(0, a.balance + owed.amount)
    FROM owed WHERE a.user_id = owed.user_id
    RETURNING a.user_id
), budget AS (
    UPDATE accounts_apikey k SET credits_taken = k.credits_taken - unused.amount
    FROM (SELECT key_id, sum(amount + pool)::bigint AS amount FROM held GROUP BY key_id) AS unused
    WHERE k.id = unused.key_id AND (SELECT count(*) FROM account) >= 0
)
SELECT user_id FROM account
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run wants to set aside: micro-credits, and the most that it and all it calls may use.

    `is_shared`: for whichever run of its family needs them first. `key_id`: the API key with a budget that starts it.
    """

    run_id: UUID
    amount: int
    cap: int | None = None
    is_shared: bool = False
    key_id: UUID | None = None


def place(user_id: UUID, wishes: Sequence[Wish]) -> None:
    """Set aside for runs that start what they want, or as much of it as there is, the first ones first.

    For those of an API key with a budget nothing is set aside yet; raises `KeyBudgetUsedUp` when nothing is left of it.
    """
    for key_id in {wish.key_id for wish in wishes if wish.key_id is not None}:
        _place_for_key(user_id, key_id, [wish for wish in wishes if wish.key_id == key_id])
    others = [wish for wish in wishes if wish.key_id is None]
    if others:
        _place(user_id, others)


def _place_for_key(user_id: UUID, key_id: UUID, wishes: Sequence[Wish]) -> None:
    arguments = {
        "user": user_id,
        "key": key_id,
        "runs": [wish.run_id for wish in wishes],
        "caps": [wish.cap for wish in wishes],
        "costly": [wish.amount > 0 or wish.is_shared for wish in wishes],
        "hours": HOURS,
    }
    if len(fetch_prepared(_PLACE_FOR_KEY, arguments)) < len(wishes):
        raise KeyBudgetUsedUp(key_id=str(key_id))


def _place(user_id: UUID, wishes: Sequence[Wish]) -> None:
    arguments = {
        "user": user_id,
        "runs": [wish.run_id for wish in wishes],
        "amounts": [wish.amount for wish in wishes],
        "caps": [wish.cap for wish in wishes],
        "shared": [wish.is_shared for wish in wishes],
    }
    fetch_prepared(_PLACE, arguments)


def release(run_id: UUID) -> None:
    """Give back what a run has set aside and not used, once; a run without a hold has nothing to give back."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {"run": run_id})


def expire() -> int:
    """Empty holds that nobody has used for two days, a thousand at a time; returns how many users got credits back."""
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRE)
        return len(cursor.fetchall())
