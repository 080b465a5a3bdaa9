"""Setting credits aside while a run is driven: statements that prove ownership of the run first, as all of its do.

Locks are taken in one order everywhere: runs, the called ones first, then holds, then the account.
"""

from dataclasses import dataclass
from typing import Any

from credits.holds import HOURS
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
INSERT INTO credits_hold (run_id, root_id, user_id, expires_at)
SELECT each.id, COALESCE(own.root_id, own.id), own.user_id, clock_timestamp() + make_interval(hours => %(hours)s)
FROM own, (SELECT id FROM own UNION ALL SELECT id FROM root) AS each
ON CONFLICT (run_id) DO NOTHING
"""

# First what the family has set aside together, then what the user has.
_RESERVE = """
WITH own AS MATERIALIZED (
    SELECT id, COALESCE(root_id, id) AS root_id, user_id FROM executions_graphexecution
    WHERE id = %(run)s AND fence = %(fence)s AND lease_owner = %(owner)s AND status = 'RUNNING' FOR NO KEY UPDATE
), locked AS MATERIALIZED (
    SELECT h.run_id, h.pool, h.cap - h.taken AS room FROM credits_hold h, own
    WHERE h.run_id IN (own.id, own.root_id) AND h.released_at IS NULL
    ORDER BY h.run_id FOR UPDATE OF h
), family AS MATERIALIZED (
    SELECT own.id, own.root_id, own.user_id, locked.pool, locked.room,
        LEAST(%(wish)s::bigint, COALESCE(locked.room, %(wish)s)) AS wish
    FROM own, locked WHERE locked.run_id = own.root_id
), payer AS MATERIALIZED (
    SELECT a.balance FROM credits_account a, family
    WHERE a.user_id = family.user_id AND family.pool < LEAST(%(need)s, family.wish) FOR UPDATE OF a
), granted AS MATERIALIZED (
    SELECT family.*, GREATEST(LEAST(wish, pool + GREATEST(COALESCE((SELECT balance FROM payer), 0), 0)), 0)::bigint
        AS amount
    FROM family
), paid AS (
    UPDATE credits_account a SET balance = a.balance - (g.amount - g.pool) FROM granted g
    WHERE a.user_id = g.user_id AND g.amount > g.pool
), filled AS (
    UPDATE credits_hold h SET
        amount = h.amount + CASE WHEN h.run_id = g.id THEN g.amount ELSE 0 END,
        pool = h.pool - CASE WHEN h.run_id = g.root_id THEN LEAST(g.pool, g.amount) ELSE 0 END,
        taken = h.taken + CASE WHEN h.run_id = g.root_id THEN g.amount ELSE 0 END,
        expires_at = clock_timestamp() + make_interval(hours => %(hours)s)
    FROM granted g WHERE h.run_id IN (g.id, g.root_id) AND g.amount > 0
)
SELECT own.id, COALESCE(granted.amount, 0) AS amount, COALESCE(granted.room < %(need)s, false) AS is_capped
FROM own LEFT JOIN granted ON true
"""


@dataclass(frozen=True, slots=True)
class Granted:
    """What was set aside. `is_capped` says that it is the run's budget, not the balance, that does not allow more."""

    amount: int
    is_capped: bool


class Purse:
    """The credits that runs which this process drives may set aside."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, claim: Claim) -> None:
        """Let the run have a hold, empty unless it has one."""
        await self._store.execute(_OPEN, self._arguments(claim))

    async def reserve(self, claim: Claim, need: int, ahead: int) -> Granted:
        """Set aside what the run needs and what it had better take ahead, or as much of it as there is.

        Raises `Fenced` when the run belongs to another by now.
        """
        arguments = {**self._arguments(claim), "need": need, "wish": need + ahead}
        failpoint("fund.before")
        for row in await self._store.all(_RESERVE, arguments):
            failpoint("fund.after")
            return Granted(row["amount"], row["is_capped"])
        raise Fenced

    def _arguments(self, claim: Claim) -> dict[str, Any]:
        return {"run": claim.run_id, "fence": claim.fence, "owner": self._store.owner, "hours": HOURS}
