"""The engine's rows, in few statements.

Every write of a driver is one statement that starts by proving ownership: it updates the run's row where the fence is
still the one claimed, and all other parts join that row. A driver that lost its run therefore writes nothing at all.
Only the database's clock is compared.
"""

import select
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import AsyncRawCursor
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, set_json_loads
from psycopg_pool import AsyncConnectionPool

from core import json
from core.sql import numbered
from executions.engine.batch import Batch
from executions.engine.rows import Claim, Committed, History
from executions.engine.values import Large
from executions.errors import Fenced, TooMuchOwed
from executions.failpoints import around_commit, failpoint
from executions.kinds import ENGINE_VERSION, PARKED, Status

_MAX_STATEMENT_BYTES = 16 * 1024 * 1024

# Runs whose worker fell silent, those that this process let slip, queued ones, and parked ones whose time has come: the
# latter two only if the user has a place free. The function is asked last, for it holds up the user's other claims.
_CLAIM = """
UPDATE executions_graphexecution SET
    fence = fence + 1, status = 'RUNNING', lease_owner = %(owner)s,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    wake_at = NULL, needs_credits = NULL, started_at = COALESCE(started_at, clock_timestamp()),
    claims_without_progress = claims_without_progress + 1, needs_engine = %(engine)s
WHERE id = %(run)s AND needs_engine <= %(engine)s
    AND (status = 'RUNNING' AND (lease_until < clock_timestamp() OR lease_owner = %(owner)s)
        OR (status = 'QUEUED' OR status IN ('WAITING', 'REVIEW')
                AND (wake_at <= clock_timestamp() OR cancel_requested_at IS NOT NULL))
            AND executions_has_place(user_id, graph_id, %(per_user)s, %(per_graph)s))
RETURNING id AS run_id, fence, graph_id, graph_version, user_id, parent_id, inputs, nodes_input_masks, wakes,
    claims_without_progress AS claims, node_count, node_budget, deadline_at, head_seq,
    cancel_requested_at IS NOT NULL AS cancelled, clock_timestamp() AS now, human_in_the_loop_safe_mode,
    sensitive_action_safe_mode, nodes_to_skip, is_dry_run, output_count, output_budget, price_version, api_key_id,
    (SELECT amount FROM credits_hold WHERE run_id = id AND price_version IS NOT NULL) AS held,
    (SELECT cap IS NOT NULL OR key_id IS NOT NULL FROM credits_hold
    WHERE run_id = COALESCE(executions_graphexecution.root_id, id) AND price_version IS NOT NULL) AS is_capped,
    -- A claim that a crash of Postgres forgets is made again with the same fence: commits name the owner as well.
    set_config('synchronous_commit', 'off', true) AS durability,
    (SELECT time_zone FROM accounts_user WHERE accounts_user.id = user_id) AS time_zone
"""

_COMMIT = """
WITH own AS (
    UPDATE executions_graphexecution SET
        status = CASE WHEN %(parks)s AND (wakes <> %(wakes)s OR cancel_requested_at IS NOT NULL)
                 THEN 'RUNNING' ELSE %(status)s END,
        lease_until = CASE WHEN %(status)s = 'RUNNING'
                             OR %(parks)s AND (wakes <> %(wakes)s OR cancel_requested_at IS NOT NULL)
                      THEN clock_timestamp() + make_interval(secs => %(lease)s) END,
        wake_at = %(wake_at)s::timestamptz,
        ended_at = CASE WHEN %(status)s IN ('COMPLETED', 'FAILED', 'TERMINATED') THEN clock_timestamp() END,
        queued_at = CASE WHEN %(status)s = 'QUEUED' THEN clock_timestamp() ELSE queued_at END,
        error_code = %(error_code)s, error = %(error)s, stalled = COALESCE(%(stalled)s::jsonb, stalled),
        head_seq = head_seq + %(events)s,
        node_count = node_count + %(node_count)s,
        node_error_count = node_error_count + %(node_error_count)s,
        node_seconds = node_seconds + %(node_seconds)s,
        output_count = output_count + %(output_count)s,
        claims_without_progress = 0, left_since = NULL
    WHERE id = %(run)s AND fence = %(fence)s AND lease_owner = %(owner)s AND status = 'RUNNING'
    RETURNING id, fence, user_id, graph_id, status, head_seq, wakes, cancel_requested_at IS NOT NULL AS cancelled
), nodes AS (
    INSERT INTO executions_nodeexecution (
        id, run_id, node_id, block_id, ordinal, status, attempt, started_fence, input_data, input_blobs, output_count,
        handed_on, waits, error, quantity, started_at, ended_at)
    SELECT n.id, own.id, node_id, block_id, ordinal, n.status, attempt, fence, input, blobs, output_count, handed_on,
        waits, error, quantity, started_at, ended_at
    FROM own, jsonb_to_recordset(%(rows)s -> 'nodes') AS n(
        id uuid, node_id uuid, block_id text, ordinal int, status text, attempt int, input jsonb, blobs jsonb,
        output_count int, handed_on int, waits jsonb, error text, quantity float8, started_at timestamptz,
        ended_at timestamptz)
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status, attempt = excluded.attempt, started_fence = excluded.started_fence,
        output_count = excluded.output_count, handed_on = excluded.handed_on, waits = excluded.waits,
        error = excluded.error, quantity = excluded.quantity, started_at = excluded.started_at,
        ended_at = excluded.ended_at
), outputs AS (
    INSERT INTO executions_nodeoutput (run_id, node_execution_id, ordinal, pin, value, blob)
    SELECT id, node, ordinal, pin, COALESCE(value, 'null'), blob
    FROM own, jsonb_to_recordset(%(rows)s -> 'outputs') AS o(node uuid, ordinal int, pin text, value jsonb, blob text)
), tokens AS (
    INSERT INTO executions_token (run_id, source_id, ordinal, link_id, position)
    SELECT id, source, ordinal, link, position
    FROM own, jsonb_to_recordset(%(rows)s -> 'tokens') AS t(source uuid, ordinal int, link uuid, position bigint)
), spent AS (
    DELETE FROM executions_token
    USING own, jsonb_to_recordset(%(rows)s -> 'spent') AS t(source uuid, ordinal int, link uuid)
    WHERE executions_token.run_id = own.id AND executions_token.source_id = t.source
        AND executions_token.ordinal = t.ordinal AND executions_token.link_id = t.link
), events AS (
    INSERT INTO executions_event (run_id, seq, kind, node_execution_id, outputs)
    SELECT id, head_seq - %(events)s + place, kind, node, outputs
    FROM own, ROWS FROM (jsonb_to_recordset(%(rows)s -> 'events') AS (kind text, node uuid, outputs int))
        WITH ORDINALITY AS e(kind, node, outputs, place)
), parent AS (
    UPDATE executions_graphexecution AS p SET
        wakes = p.wakes + 1,
        status = CASE WHEN p.status IN ('WAITING', 'REVIEW') THEN 'QUEUED' ELSE p.status END,
        queued_at = CASE WHEN p.status IN ('WAITING', 'REVIEW') THEN clock_timestamp() ELSE p.queued_at END,
        wake_at = CASE WHEN p.status IN ('WAITING', 'REVIEW') THEN NULL ELSE p.wake_at END
    FROM own
    WHERE p.id = %(parent)s AND own.status IN ('COMPLETED', 'FAILED', 'TERMINATED')
        AND p.status NOT IN ('COMPLETED', 'FAILED', 'TERMINATED')
    RETURNING p.id
)
SELECT status, head_seq, wakes, cancelled, (SELECT id FROM parent) AS woken,
    status <> 'RUNNING' AND (
        SELECT count(*) >= %(per_user)s OR count(*) FILTER (WHERE o.graph_id = own.graph_id) >= %(per_graph)s
        FROM executions_graphexecution AS o WHERE o.user_id = own.user_id AND o.status = 'RUNNING') AS is_crowded,
    EXTRACT(epoch FROM %(wake_at)s::timestamptz - clock_timestamp())::float AS wakes_in
FROM own
"""

# With the rows of a commit, what its nodes cost. They are paid out of the hold, what is lacking there out of the
# balance, which goes below zero for what had its price only once it was done. When the run ends the rest goes back.
# Locks: runs, so the parent's comes first, then holds, then the account, then the API key.
_CHARGES = """
), charged AS (
    INSERT INTO credits_transfer (key, user_id, debit, credit, amount, kind, reason, metadata, run_id)
    SELECT c.key, own.user_id, 'user', 'revenue', c.amount, 'USAGE', c.reason, c.metadata, own.id
    FROM own, jsonb_to_recordset(%(rows)s -> 'charges') AS c(key text, amount bigint, reason text, metadata jsonb)
), held AS MATERIALIZED (
    SELECT h.run_id, h.root_id, h.user_id, h.key_id, h.pool, GREATEST(%(charged)s::bigint - h.amount, 0) AS short,
        GREATEST(h.amount - %(charged)s, 0) AS rest, own.status IN ('COMPLETED', 'FAILED', 'TERMINATED') AS ends
    FROM own, credits_hold h
    WHERE h.run_id = own.id AND h.released_at IS NULL AND (SELECT count(*) FROM parent) >= 0 FOR UPDATE OF h
), used AS (
    UPDATE credits_hold h SET
        amount = CASE WHEN h.run_id <> held.run_id THEN h.amount WHEN held.ends THEN 0 ELSE held.rest END,
        pool = CASE WHEN h.run_id = held.run_id AND held.ends THEN 0 ELSE h.pool END,
        spent = h.spent + CASE WHEN h.run_id = held.run_id THEN %(charged)s ELSE 0 END,
        taken = CASE WHEN h.run_id <> held.root_id THEN h.taken
                ELSE LEAST(COALESCE(h.cap, 9223372036854775807),
                    h.taken + held.short - CASE WHEN held.ends THEN held.rest ELSE 0 END) END,
        released_at = CASE WHEN h.run_id = held.run_id AND held.ends THEN clock_timestamp() ELSE h.released_at END
    FROM held
    WHERE h.run_id = held.run_id OR (h.run_id = held.root_id AND (held.short > 0 OR held.ends))
), due AS MATERIALIZED (
    SELECT user_id, key_id, CASE WHEN ends THEN rest + pool ELSE 0 END - short AS change FROM held
), account AS (
    UPDATE credits_account a SET balance = a.balance + due.change, floor = LEAST(0, a.balance + due.change)
    FROM due WHERE a.user_id = due.user_id AND due.change <> 0
    RETURNING a.user_id
), budget AS (
    UPDATE accounts_apikey k SET credits_taken = k.credits_taken - due.change
    FROM due WHERE k.id = due.key_id AND due.change <> 0 AND (SELECT count(*) FROM account) >= 0
)
SELECT status, head_seq"""

# Only where credits are moved or lacking: other commits stay as they are.
_COMMIT_METERED = _COMMIT.replace("\n)\nSELECT status, head_seq", "\n" + _CHARGES.strip()).replace(
    "wake_at = %(wake_at)s::timestamptz,",
    "wake_at = %(wake_at)s::timestamptz, "
    "needs_credits = %(needs_credits)s::bigint, spent = spent + %(charged)s::bigint, "
    "is_over_debt = is_over_debt OR %(over_debt)s,",
)

# Before the commit that names them. When that never comes, what was stored goes with the run.
_STORE_BLOBS = """
WITH own AS (
    SELECT id, user_id FROM executions_graphexecution
    WHERE id = %(run)s AND fence = %(fence)s AND lease_owner = %(owner)s AND status = 'RUNNING' FOR KEY SHARE
), given AS (
    SELECT hash, encoded FROM unnest(%(hashes)s::text[], %(encoded)b::bytea[]) AS given(hash, encoded) ORDER BY hash
), blobs AS (
    INSERT INTO executions_blob (user_id, hash, size, encoded)
    SELECT own.user_id, given.hash, octet_length(given.encoded), given.encoded FROM own, given
    ON CONFLICT (user_id, hash) DO UPDATE SET touched_at = clock_timestamp()
), uses AS (
    INSERT INTO executions_blobuse (run_id, hash, user_id) SELECT own.id, given.hash, own.user_id FROM own, given
    ON CONFLICT DO NOTHING
)
-- The commit that follows makes it durable.
SELECT id, set_config('synchronous_commit', 'off', true) FROM own
"""

_BLOBS = """
SELECT b.hash, b.encoded FROM executions_blob b JOIN executions_graphexecution r ON r.user_id = b.user_id
WHERE r.id = %s AND b.hash = ANY(%s)
"""

_OPEN = """
SELECT id, node_id, ordinal, status, attempt, input_data, input_blobs, output_count, handed_on, waits, error,
    started_at, ended_at
FROM executions_nodeexecution
WHERE run_id = %s AND (status IN ('RUNNING', 'WAITING', 'REVIEW') OR handed_on < output_count)
ORDER BY ordinal
"""

_HELD = """
SELECT node_execution_id, ordinal, pin, value, blob FROM executions_nodeoutput
JOIN unnest(%s::uuid[], %s::int[]) AS held(id, handed_on) ON node_execution_id = held.id AND ordinal >= handed_on
WHERE run_id = %s ORDER BY node_execution_id, ordinal
"""

# Of each node only the last activation is read, however many there are.
_FIRED = """
SELECT n.id AS node_id, last.ordinal + 1 AS fired FROM unnest(%s::uuid[]) AS n(id), LATERAL (
    SELECT ordinal FROM executions_nodeexecution
    WHERE run_id = %s AND node_id = n.id ORDER BY ordinal DESC LIMIT 1) AS last
"""

_KEPT = """
SELECT n.id AS node_id, last.input_data, last.input_blobs FROM unnest(%s::uuid[]) AS n(id), LATERAL (
    SELECT input_data, input_blobs FROM executions_nodeexecution
    WHERE run_id = %s AND node_id = n.id ORDER BY ordinal DESC LIMIT 1) AS last
"""

_TOKENS = """
SELECT t.source_id, t.ordinal, t.link_id, t.position, o.pin, o.value, o.blob
FROM executions_token t
JOIN executions_nodeoutput o ON o.run_id = t.run_id AND o.node_execution_id = t.source_id AND o.ordinal = t.ordinal
WHERE t.run_id = %s ORDER BY t.position
"""

_CHILDREN = """
SELECT id, graph_id, graph_version, status, error FROM executions_graphexecution
WHERE id = ANY(%s) AND status IN ('COMPLETED', 'FAILED', 'TERMINATED')
"""

_OUTPUTS_OF = """
SELECT e.input_data ->> 'name' AS name, e.input_data -> 'value' AS value, e.input_blobs ->> 'value' AS blob
FROM executions_nodeexecution e
WHERE e.run_id = %s AND e.node_id = ANY(%s) AND e.status = 'COMPLETED' AND e.input_data ? 'value'
ORDER BY e.ended_at, e.id
"""

_RENEW = """
UPDATE executions_graphexecution AS r SET lease_until = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::uuid[], %s::bigint[]) AS held(id, fence)
WHERE r.id = held.id AND r.fence = held.fence AND r.lease_owner = %s AND r.status = 'RUNNING'
"""

_LOOK = """
SELECT r.id, r.wakes, r.cancel_requested_at IS NOT NULL AS cancelled
FROM executions_graphexecution r JOIN unnest(%s::uuid[], %s::bigint[]) AS held(id, fence)
ON r.id = held.id AND r.fence = held.fence AND r.lease_owner = %s AND r.status = 'RUNNING'
"""

_LEAVE = """
UPDATE executions_graphexecution SET
    status = 'QUEUED', queued_at = clock_timestamp(), lease_until = NULL,
    left_since = COALESCE(left_since, clock_timestamp()), claims_without_progress = claims_without_progress - 1
WHERE id = %(run)s AND fence = %(fence)s AND lease_owner = %(owner)s AND status = 'RUNNING'
    AND COALESCE(left_since, clock_timestamp()) + make_interval(secs => %(patience)s) > clock_timestamp()
RETURNING id
"""


class Store:
    """One process's way to the rows. `owner` names the process in the leases it takes.

    `engine` is the newest kind of row that the process understands.
    """

    def __init__(self, owner: str, size: int, engine: int = ENGINE_VERSION) -> None:
        self.owner = owner
        self.engine = engine
        self._pool = AsyncConnectionPool(
            kwargs=_connection_parameters() | {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
            configure=_configure,
            check=_look_at,
            min_size=1,
            max_size=size,
            timeout=10,
            open=False,
        )

    async def open(self) -> None:
        """Connect; raises `psycopg_pool.PoolTimeout` when Postgres does not answer."""
        await self._pool.open(wait=True)

    async def close(self) -> None:
        """Give the connections back."""
        await self._pool.close()

    async def claim(self, run_id: UUID) -> Claim | None:
        """Take a run if nobody else has it, under a new fence."""
        failpoint("claim.before_commit")
        arguments = {"run": run_id, "owner": self.owner, "lease": settings.LEASE_SECONDS, "engine": self.engine}
        row = await self._one(_CLAIM, arguments | places())
        if row is None:
            return None
        failpoint("claim.after_commit")
        del row["durability"]
        return Claim(**row)

    async def commit(self, claim: Claim, wakes: int, batch: Batch) -> Committed:
        """Write a batch whole, renewing the lease; raises `Fenced` when the run belongs to another by now.

        Raises `TooMuchOwed`, and writes nothing, when the user would owe more than can be counted for its charges.

        A batch that parks the run leaves it RUNNING if it was woken more than `wakes` times.
        """
        arguments = {
            **self._ours(claim),
            "parent": claim.parent_id,
            "wakes": wakes,
            "lease": settings.LEASE_SECONDS,
            "rows": Jsonb(batch.document(), dumps=_as_is),
            "events": len(batch.events),
            "status": batch.status.value,
            "parks": batch.status in PARKED,
            "wake_at": batch.wake_at,
            "error_code": batch.error_code,
            "error": batch.error,
            "stalled": Jsonb(batch.stalled) if batch.stalled else None,
            "node_count": batch.node_count,
            "node_error_count": batch.node_error_count,
            "node_seconds": batch.node_seconds,
            "output_count": batch.output_count,
        }
        statement = _COMMIT
        if batch.charges or batch.needs_credits or batch.releases or batch.is_over_debt:
            statement = _COMMIT_METERED
            arguments["charged"] = sum(charge.amount for charge in batch.charges)
            arguments["needs_credits"] = batch.needs_credits
            arguments["over_debt"] = batch.is_over_debt
        if batch.blobs:
            await self._store_blobs(claim, batch.blobs)
        around_commit("before_commit", batch)
        try:
            row = await self._one(statement, arguments | places())
        except psycopg.errors.CheckViolation as error:
            if batch.charges and error.diag.constraint_name == "balances_can_be_counted":
                raise TooMuchOwed from error
            raise
        if row is None:
            raise Fenced
        around_commit("after_commit", batch)
        batch.mark_stored()
        return Committed(Status(row.pop("status")), **row)

    async def history(self, run_id: UUID, nodes: Sequence[UUID], static_nodes: Sequence[UUID]) -> History:
        """Read what is left of a run with these nodes that was driven before."""
        opened = await self.all(_OPEN, (run_id,))
        holding = [row for row in opened if row["handed_on"] < row["output_count"]]
        holders = ([row["id"] for row in holding], [row["handed_on"] for row in holding], run_id)
        held = await self.all(_HELD, holders) if holding else []
        kept = await self.all(_KEPT, (list(static_nodes), run_id)) if static_nodes else []
        tokens = await self.all(_TOKENS, (run_id,))
        named = [row["blob"] for row in [*held, *tokens]]
        named += [blob for row in [*opened, *kept] for blob in (row["input_blobs"] or {}).values()]
        return History(
            open=opened,
            held=held,
            fired={row["node_id"]: row["fired"] for row in await self.all(_FIRED, (list(nodes), run_id))},
            kept=kept,
            tokens=tokens,
            blobs=await self._blobs(run_id, named),
        )

    async def finished(self, run_ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """Those of the runs that have ended: id, graph_id, graph_version, status and error."""
        return await self.all(_CHILDREN, (list(run_ids),))

    async def outputs_of(self, run_id: UUID, output_nodes: Sequence[UUID]) -> list[tuple[str, Any]]:
        """A run's outputs as (name, value) pairs in the order they were given."""
        rows = await self.all(_OUTPUTS_OF, (run_id, list(output_nodes)))
        blobs = await self._blobs(run_id, [row["blob"] for row in rows])
        return [(row["name"], blobs[row["blob"]].value if row["blob"] else row["value"]) for row in rows]

    async def renew(self, held: dict[UUID, int]) -> None:
        """Prolong the leases of the runs held, given as id → fence."""
        await self.execute(_RENEW, (settings.LEASE_SECONDS, list(held), list(held.values()), self.owner))

    async def look(self, held: dict[UUID, int]) -> dict[UUID, dict[str, Any]]:
        """What happened from outside to the runs held, by id; a run that is missing was taken over."""
        return {row["id"]: row for row in await self.all(_LOOK, (list(held), list(held.values()), self.owner))}

    async def leave(self, claim: Claim) -> bool:
        """Give a run that cannot be driven here to other processes; false if it was left to them for too long."""
        arguments = {**self._ours(claim), "patience": settings.BLOCK_PATIENCE_SECONDS}
        return await self._one(_LEAVE, arguments) is not None

    async def _store_blobs(self, claim: Claim, blobs: Mapping[str, bytes]) -> None:
        for part in _parts(blobs):
            arguments = {**self._ours(claim), "hashes": list(part), "encoded": list(part.values())}
            if not await self.all(_STORE_BLOBS, arguments):
                raise Fenced

    def _ours(self, claim: Claim) -> dict[str, Any]:
        """What proves that a run is ours."""
        return {"run": claim.run_id, "fence": claim.fence, "owner": self.owner}

    async def _blobs(self, run_id: UUID, hashes: Iterable[str | None]) -> dict[str, Large]:
        """The large values of a run, by hash; each is read once, however often it is named."""
        wanted = {key for key in hashes if key}
        rows = await self.all(_BLOBS, (run_id, list(wanted)), binary=True) if wanted else []
        return {row["hash"]: Large(json.decode(row["encoded"]), row["hash"], len(row["encoded"])) for row in rows}

    async def _one(self, query: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        text, names = numbered(query)
        async with self._pool.connection() as connection, AsyncRawCursor(connection, row_factory=dict_row) as cursor:
            await cursor.execute(text, [arguments[name] for name in names])
            return await cursor.fetchone()

    async def all(self, query: str, arguments: Any, *, binary: bool = False) -> list[dict[str, Any]]:
        """What a statement returns."""
        async with self._cursor() as cursor:
            await cursor.execute(query, arguments, binary=binary)
            return await cursor.fetchall()

    async def execute(self, query: str, arguments: Any) -> None:
        """Run a statement for what it does."""
        async with self._cursor() as cursor:
            await cursor.execute(query, arguments)

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[psycopg.AsyncCursor[dict[str, Any]]]:
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            yield cursor


def _parts(blobs: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """The same in portions that one statement can well carry."""
    part: dict[str, bytes] = {}
    for key, encoded in blobs.items():
        if part and sum(map(len, part.values())) + len(encoded) > _MAX_STATEMENT_BYTES:
            yield part
            part = {}
        part[key] = encoded
    yield part


def _connection_parameters() -> dict[str, Any]:
    """Those of Django's own connections, without what only Django's cursors need."""
    parameters = connections["default"].get_connection_params()
    for name in ("context", "cursor_factory"):
        parameters.pop(name)
    return {**parameters, "options": "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=5s"}


async def _look_at(connection: psycopg.AsyncConnection[Any]) -> None:
    """Nobody asked Postgres anything yet: if it says something all the same, it is most likely farewell."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    set_json_loads(json.decode, connection)


def _as_is(document: bytes) -> bytes:
    return document


def places() -> dict[str, int]:
    """How many runs may be under way at once: of a user, and of one graph of a user."""
    return {"per_user": settings.RUNS_PER_USER, "per_graph": settings.RUNS_PER_GRAPH}
