"""Finding runs that should be driven and are not: the statements of the sweeper.

None of them reads more than a bounded part of a queue, however long it is; each has an index of its own.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from executions.engine.store import Store, places

# How many (user, graph) pairs one look visits; the next begins where this one stopped.
MAX_PAIRS = 500
MAX_WOKEN = 1000
_START = UUID(int=0), UUID(int=0)

_LAPSED = """
SELECT id, user_id FROM executions_graphexecution
WHERE status = 'RUNNING' AND (lease_until < clock_timestamp() OR lease_owner = %(owner)s)
    AND needs_engine <= %(engine)s AND NOT id = ANY(%(held)s)
ORDER BY lease_until LIMIT %(limit)s
"""

_WAKE_DUE = """
UPDATE executions_graphexecution SET status = 'QUEUED', queued_at = clock_timestamp(), wake_at = NULL
WHERE id IN (
    SELECT id FROM executions_graphexecution WHERE status IN ('WAITING', 'REVIEW') AND wake_at <= clock_timestamp()
    ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING id, user_id
"""

# Whoever topped up need not know of runs.
_WAKE_FUNDED = """
UPDATE executions_graphexecution SET status = 'QUEUED', queued_at = clock_timestamp(), wake_at = NULL
WHERE id IN (
    SELECT r.id FROM executions_graphexecution r JOIN credits_account a ON a.user_id = r.user_id
    WHERE r.needs_credits IS NOT NULL AND r.status IN ('WAITING', 'REVIEW') AND a.balance >= r.needs_credits
    ORDER BY r.id LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED)
RETURNING id, user_id
"""

# Whoever stops a run locks what it called, too, and then needs not be told.
_CANCEL_ORPHANS = """
UPDATE executions_graphexecution SET
    cancel_requested_at = clock_timestamp(),
    status = CASE WHEN status IN ('WAITING', 'REVIEW') THEN 'QUEUED' ELSE status END,
    queued_at = CASE WHEN status IN ('WAITING', 'REVIEW') THEN clock_timestamp() ELSE queued_at END,
    wake_at = NULL
WHERE id IN (
    SELECT c.id FROM executions_graphexecution c JOIN executions_graphexecution p ON c.parent_id = p.id
    WHERE c.parent_id IS NOT NULL AND c.cancel_requested_at IS NULL
        AND c.status IN ('QUEUED', 'RUNNING', 'WAITING', 'REVIEW') AND p.status IN ('COMPLETED', 'FAILED', 'TERMINATED')
    LIMIT %(limit)s FOR NO KEY UPDATE OF c SKIP LOCKED
)
"""

# From pair to pair by the index: what lies between them is not read.
_PAIRS_OF_ALL = """
    (SELECT user_id, graph_id FROM executions_graphexecution
    WHERE status = 'QUEUED' AND (user_id, graph_id) > (%(after_user)s, %(after_graph)s)
    ORDER BY user_id, graph_id LIMIT 1)
    UNION ALL
    SELECT n.user_id, n.graph_id FROM walk, LATERAL (
        SELECT user_id, graph_id FROM executions_graphexecution
        WHERE status = 'QUEUED' AND (user_id, graph_id) > (walk.user_id, walk.graph_id)
        ORDER BY user_id, graph_id LIMIT 1) AS n
"""

_PAIRS_OF_SOME = """
    SELECT u.id, n.graph_id FROM unnest(%(users)s::uuid[]) AS u(id), LATERAL (
        SELECT graph_id FROM executions_graphexecution
        WHERE status = 'QUEUED' AND user_id = u.id ORDER BY graph_id LIMIT 1) AS n
    UNION ALL
    SELECT walk.user_id, n.graph_id FROM walk, LATERAL (
        SELECT graph_id FROM executions_graphexecution
        WHERE status = 'QUEUED' AND user_id = walk.user_id AND graph_id > walk.graph_id
        ORDER BY graph_id LIMIT 1) AS n
"""

# The oldest runs of each pair that would find a place; in the order in which the users' loads grow evenly.
_LINE = """
WITH RECURSIVE walk (user_id, graph_id) AS ({pairs}
), pair AS MATERIALIZED (
    SELECT user_id, graph_id FROM walk LIMIT %(pairs)s
), load AS MATERIALIZED (
    SELECT user_id, graph_id, count(*) AS runs FROM executions_graphexecution
    WHERE status = 'RUNNING' AND user_id IN (SELECT user_id FROM pair) GROUP BY user_id, graph_id
), loaded AS (
    SELECT pair.user_id, pair.graph_id, COALESCE(load.runs, 0) AS of_graph,
        COALESCE((SELECT sum(runs) FROM load WHERE load.user_id = pair.user_id), 0) AS of_user
    FROM pair LEFT JOIN load ON load.user_id = pair.user_id AND load.graph_id = pair.graph_id
), candidate AS (
    SELECT next.id, next.line, loaded.user_id, loaded.of_user,
        row_number() OVER (PARTITION BY loaded.user_id ORDER BY next.line, next.id) AS turn
    FROM loaded, LATERAL (
        SELECT r.id, COALESCE(r.root_id, r.id) AS line FROM executions_graphexecution AS r
        WHERE r.status = 'QUEUED' AND r.user_id = loaded.user_id AND r.graph_id = loaded.graph_id
            AND r.needs_engine <= %(engine)s AND NOT r.id = ANY(%(held)s)
            AND r.queued_at < clock_timestamp() - make_interval(secs => %(patience)s)
        ORDER BY COALESCE(r.root_id, r.id), r.id
        LIMIT LEAST(%(limit)s, GREATEST(%(per_graph)s - loaded.of_graph, 0),
            8 + %(limit)s / (SELECT count(*) FROM pair))
    ) AS next
    WHERE loaded.of_user < %(per_user)s
)
SELECT id, candidate.user_id, (SELECT count(*) FROM pair) AS pairs,
    last.user_id AS last_user, last.graph_id AS last_graph
FROM candidate, (SELECT user_id, graph_id FROM pair ORDER BY user_id DESC, graph_id DESC LIMIT 1) AS last
WHERE of_user + turn <= %(per_user)s
ORDER BY of_user + turn, line
LIMIT %(limit)s
"""

_LINE_OF_ALL = " ".join(_LINE.format(pairs=_PAIRS_OF_ALL).split())
_LINE_OF_SOME = " ".join(_LINE.format(pairs=_PAIRS_OF_SOME).split())

_OWNERS = """
SELECT id, user_id FROM executions_graphexecution WHERE id = ANY(%s)
"""

_PLACES = """
SELECT r.user_id, (
    SELECT count(*) >= %(per_user)s OR count(*) FILTER (WHERE o.graph_id = r.graph_id) >= %(per_graph)s
    FROM executions_graphexecution AS o WHERE o.user_id = r.user_id AND o.status = 'RUNNING') AS crowded
FROM executions_graphexecution AS r WHERE r.id = %(run)s AND r.status = 'QUEUED' AND r.needs_engine <= %(engine)s
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A run that should be driven, and whose it is."""

    run_id: UUID
    user_id: UUID


class Sweeps:
    """Looks for runs on behalf of the process whose `store` this is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._after = _START

    async def wake_due(self) -> list[Found]:
        """Queue parked runs whose time has come; returns them."""
        return [Found(row["id"], row["user_id"]) for row in await self._store.all(_WAKE_DUE, {"limit": MAX_WOKEN})]

    async def wake_funded(self) -> list[Found]:
        """Queue runs that parked for want of credits and whose users have enough by now; returns them."""
        return [Found(row["id"], row["user_id"]) for row in await self._store.all(_WAKE_FUNDED, {"limit": MAX_WOKEN})]

    async def cancel_orphans(self) -> None:
        """Ask runs to stop whose parent has ended."""
        await self._store.execute(_CANCEL_ORPHANS, {"limit": MAX_WOKEN})

    async def lapsed(self, held: Collection[UUID], limit: int) -> list[Found]:
        """Runs whose worker fell silent, and those that this process let slip."""
        arguments = {"held": list(held), "limit": limit, "owner": self._store.owner, "engine": self._store.engine}
        return [Found(row["id"], row["user_id"]) for row in await self._store.all(_LAPSED, arguments)]

    async def queued(self, held: Collection[UUID], limit: int, patience: float) -> list[Found]:
        """Runs that were queued longer than `patience` seconds ago and would find a place, in a fair order."""
        after = {"after_user": self._after[0], "after_graph": self._after[1]}
        rows = await self._store.all(_LINE_OF_ALL, self._line(held, limit, patience) | after)
        is_cut_off = bool(rows) and rows[0]["pairs"] == MAX_PAIRS
        self._after = (rows[0]["last_user"], rows[0]["last_graph"]) if is_cut_off else _START
        return [Found(row["id"], row["user_id"]) for row in rows]

    async def queued_of(self, users: Collection[UUID], held: Collection[UUID], limit: int) -> list[Found]:
        """The runs of these users that would find a place, in a fair order."""
        rows = await self._store.all(_LINE_OF_SOME, self._line(held, limit, 0) | {"users": list(users)})
        return [Found(row["id"], row["user_id"]) for row in rows]

    async def owners(self, run_ids: Collection[UUID]) -> list[Found]:
        """Whose the runs are."""
        return [Found(row["id"], row["user_id"]) for row in await self._store.all(_OWNERS, (list(run_ids),))]

    async def crowding(self, run_id: UUID) -> tuple[UUID, bool] | None:
        """Whose a run is, and whether it waits for a place; None if it does not wait to be driven here."""
        for row in await self._store.all(_PLACES, {"run": run_id, "engine": self._store.engine, **places()}):
            return row["user_id"], row["crowded"]
        return None

    def _line(self, held: Collection[UUID], limit: int, patience: float) -> dict[str, object]:
        return {
            "held": list(held),
            "limit": limit,
            "patience": patience,
            "pairs": MAX_PAIRS,
            "engine": self._store.engine,
            **places(),
        }
