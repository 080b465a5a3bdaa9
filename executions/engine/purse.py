"""Setting credits aside while a run is driven: statements that prove ownership of the run first, as all of its do.

Locks are taken in one order everywhere: runs, the called ones first, then holds, then the account, then the API key.
"""

from dataclasses import dataclass
from typing import Any

from credits.holds import HOURS
from credits.kinds import MOST
from executions.engine.rows import Claim
from executions.engine.store import Store
from executions.errors import Fenced
from executions.failpoints import failpoint

# The run's own hold, and that of the first run of its family unless it has ended.
_OPEN = """
WITH own AS MATERIALIZED (
    SELECT id, root_id, user_id FROM executions_graphexecution
    WHERE id = %(run)s AND fence = %(fence)s AND lease_owner = %(owner)s AND status = 'RUNNING' FOR NO KEY UPDATE
), root AS MATERIALIZED (
    SELECT r.id FROM executions_graphexecution r, own WHERE r.id = own.root_id AND r.ended_at IS NULL FOR SHARE OF r
)
INSERT INTO credits_hold (run_id, root_id, user_id, key_id, expires_at)
SELECT each.id, COALESCE(own.root_id, own.id), own.user_id,
    (SELECT h.key_id FROM credits_hold h WHERE h.run_id = own.root_id),
    clock_timestamp() + make_interval(hours => %(hours)s)
FROM own, (SELECT id FROM own UNION ALL SELECT id FROM root) AS each
ON CONFLICT (run_id) DO NOTHING
"""

# First what the family has set aside together, then what the user has, or may owe; and what their API key may use.
_RESERVE = """
WITH own AS MATERIALIZED (
    SELECT id, COALESCE(root_id, id) AS root_id, user_id FROM executions_graphexecution
    WHERE id = %(run)s AND fence = %(fence)s AND lease_owner = %(owner)s AND status = 'RUNNING' FOR NO KEY UPDATE
), locked AS MATERIALIZED (
    SELECT h.run_id, h.pool, h.cap - h.taken AS room, h.key_id FROM credits_hold h, own
    WHERE h.run_id IN (own.id, own.root_id) AND h.released_at IS NULL
    ORDER BY h.run_id FOR UPDATE OF h
), family AS MATERIALIZED (
    SELECT own.id, own.root_id, own.user_id, locked.pool, locked.room, locked.key_id,
        LEAST(%(wish)s::bigint, COALESCE(locked.room, %(wish)s)) AS wish
    FROM own, locked WHERE locked.run_id = own.root_id
), payer AS MATERIALIZED (
    SELECT a.balance FROM credits_account a, family
    WHERE a.user_id = family.user_id AND family.pool < LEAST(%(need)s, family.wish) FOR UPDATE OF a
), key AS MATERIALIZED (
    SELECT k.id, k.max_credits * 1000000 - k.credits_taken AS room FROM accounts_apikey k, family
    WHERE k.id = family.key_id AND family.pool < LEAST(%(need)s, family.wish) AND (SELECT count(*) FROM payer) >= 0
    FOR NO KEY UPDATE OF k
), granted AS MATERIALIZED (
    SELECT family.*, (SELECT room FROM key) + pool AS key_room, GREATEST(LEAST(wish,
        pool + GREATEST(COALESCE((SELECT balance FROM payer), 0) + %(debt)s::bigint, 0),
        (SELECT room FROM key) + pool), 0)::bigint AS amount
    FROM family
), paid AS (
    UPDATE credits_account a SET balance = a.balance - (g.amount - g.pool),
        floor = LEAST(a.floor, a.balance - (g.amount - g.pool))
    FROM granted g
    WHERE a.user_id = g.user_id AND g.amount > g.pool
), budgeted AS (
    UPDATE accounts_apikey k SET credits_taken = k.credits_taken + (g.amount - g.pool) FROM granted g
    WHERE k.id = g.key_id AND g.amount > g.pool
), filled AS (
    UPDATE credits_hold h SET
        amount = h.amount + CASE WHEN h.run_id = g.id THEN g.amount ELSE 0 END,
        pool = h.pool - CASE WHEN h.run_id = g.root_id THEN LEAST(g.pool, g.amount) ELSE 0 END,
        taken = h.taken + CASE WHEN h.run_id = g.root_id THEN g.amount ELSE 0 END,
        expires_at = clock_timestamp() + make_interval(hours => %(hours)s)
    FROM granted g WHERE h.run_id IN (g.id, g.root_id) AND g.amount > 0
)
SELECT own.id, COALESCE(granted.amount, 0) AS amount, COALESCE(granted.room < %(need)s, false) AS is_capped,
    COALESCE(granted.key_room < %(need)s, false) AS is_key_capped
FROM own LEFT JOIN granted ON true
"""


OF_RUN = "its max_credits"
OF_KEY = "the max_credits of the API key that started it"


@dataclass(frozen=True, slots=True)
class Granted:
    """What was set aside. `capped_by` is the budget, if any, that does not allow what was needed: OF_RUN or OF_KEY."""

    amount: int
    capped_by: str | None


class Purse:
    """The credits that runs which this process drives may set aside."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, claim: Claim) -> None:
        """Let the run have a hold, empty unless it has one."""
        await self._store.execute(_OPEN, self._arguments(claim))

    async def reserve(self, claim: Claim, need: int, ahead: int = 0, *, may_owe: bool = False) -> Granted:
        """Set aside what the run needs and what it had better take ahead, or as much of it as there is.

        What the run `may_owe` is bounded by budgets and by what can be counted, not by the balance. Raises `Fenced`
        when the run belongs to another by now.
        """
        arguments = {**self._arguments(claim), "need": need, "wish": need + ahead, "debt": MOST if may_owe else 0}
        failpoint("fund.before")
        for row in await self._store.all(_RESERVE, arguments):
            failpoint("fund.after")
            return Granted(row["amount"], OF_RUN if row["is_capped"] else OF_KEY if row["is_key_capped"] else None)
        raise Fenced

    def _arguments(self, claim: Claim) -> dict[str, Any]:
        return {"run": claim.run_id, "fence": claim.fence, "owner": self._store.owner, "hours": HOURS}
