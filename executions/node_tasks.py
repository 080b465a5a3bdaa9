"""Blocks that run in processes of their own: asked for by the engine, taken and answered by any worker.

A row is a turn of a block. Whoever takes it gets a lease and a number, as with runs, and may answer as long as that
number is the last. An answer and the news of it are one transaction. Only the database's clock is compared.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from django.conf import settings
from django.db import connection, transaction

from core import json
from executions import queue
from executions.failpoints import failpoint
from executions.models import GraphExecution
from executions.reading import rows_of

# A task is wanted until its activation ends or waits for something else, or somebody asks its run to stop.
_WANTED = """
    t.ended_at IS NULL AND n.ended_at IS NULL AND jsonb_array_length(n.waits) <= t.turn + 1
    AND r.ended_at IS NULL AND r.cancel_requested_at IS NULL
"""

_ASK = """
INSERT INTO executions_nodetask (id, run_id, node_execution_id, turn, input_data, context, timeout_seconds)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (node_execution_id, turn) DO NOTHING
"""

_CLAIM = f"""
WITH busy AS (
    SELECT r.user_id, count(*) AS tasks FROM executions_nodetask t
    JOIN executions_graphexecution r ON r.id = t.run_id
    WHERE t.ended_at IS NULL AND t.lease_until >= clock_timestamp() GROUP BY r.user_id
), next AS (
    SELECT t.id, r.user_id, n.block_id, n.input_data, n.input_blobs FROM executions_nodetask t
    JOIN executions_nodeexecution n ON n.id = t.node_execution_id
    JOIN executions_graphexecution r ON r.id = t.run_id
    LEFT JOIN busy ON busy.user_id = r.user_id
    WHERE {_WANTED} AND (t.lease_until IS NULL OR t.lease_until < clock_timestamp()) AND n.block_id = ANY(%s)
    ORDER BY COALESCE(busy.tasks, 0), t.asked_at LIMIT 1 FOR UPDATE OF t SKIP LOCKED
)
UPDATE executions_nodetask t SET
    claims = claims + 1, lease_owner = %s, lease_until = clock_timestamp() + make_interval(secs => %s),
    started_at = clock_timestamp()
FROM next WHERE t.id = next.id
RETURNING t.id, t.run_id, t.claims, next.block_id, COALESCE(t.input_data, next.input_data)::text,
    COALESCE((
        SELECT json_object_agg(large.key, convert_from(b.encoded, 'UTF8')::json)::text
        FROM jsonb_each_text(next.input_blobs) AS large(key, hash)
        JOIN executions_blob b ON b.user_id = next.user_id AND b.hash = large.hash
        WHERE t.input_data IS NULL
    ), '{{}}'),
    t.context::text, t.timeout_seconds
"""  # noqa: S608  both parts are constants

_KEEP = f"""
UPDATE executions_nodetask t SET lease_until = clock_timestamp() + make_interval(secs => %s)
FROM executions_nodeexecution n, executions_graphexecution r
WHERE t.id = %s AND t.claims = %s AND n.id = t.node_execution_id AND r.id = t.run_id AND {_WANTED}
RETURNING set_config('synchronous_commit', 'off', true)
"""  # noqa: S608  both parts are constants

_FINISH = """
UPDATE executions_nodetask SET
    outputs = %s, error = %s, suspension = %s, is_lost = %s, ended_at = clock_timestamp(), lease_until = NULL
WHERE id = %s AND claims = %s AND ended_at IS NULL
"""

_RELEASE = "UPDATE executions_nodetask SET claims = claims - 1, lease_until = NULL WHERE id = %s AND claims = %s"

_FORGET = """
DELETE FROM executions_nodetask t USING executions_nodeexecution n
WHERE n.id = t.node_execution_id AND (n.ended_at IS NOT NULL OR jsonb_array_length(n.waits) > t.turn + 1)
    AND (t.lease_until IS NULL OR t.lease_until < clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A task that this process has taken; `input_data`, `large_inputs`, which win over it, and `context` are JSON."""

    id: UUID
    run_id: UUID
    claims: int
    block_id: str
    input_data: str
    large_inputs: str
    context: str
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a block that ran apart ended: with `error`, wanting to wait for `suspension` (as JSON), or well.

    `outputs` are the (pin, value) pairs that it gave, as JSON. `is_lost` says that nobody knows how far it came.
    `seconds` is how long it took.
    """

    outputs: bytes = b"[]"
    error: str = ""
    suspension: dict[str, Any] | None = None
    is_lost: bool = False
    seconds: float = 0.0


# --- For the engine ---------------------------------------------------------------------------------------------


def ask(
    *,
    run_id: UUID,
    node_execution_id: UUID,
    turn: int,
    input_data: Mapping[str, Any] | None,
    context: dict[str, Any],
    timeout_seconds: float | None,
) -> UUID:
    """Ask for a turn of an activation's block and return the task's id; asked again for the same turn, it is the same.

    Without `input_data` the block gets the input that the activation's row holds. Raises `NotStorable` when the context
    or the input cannot be stored.
    """
    task_id = uuid5(node_execution_id, str(turn))
    given = None if input_data is None else json.encode(input_data).decode()
    row: list[Any] = [task_id, run_id, node_execution_id, turn, given, json.encode(context).decode(), timeout_seconds]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ASK, row)
        queue.ring_for_node()
    failpoint("task.after_ask")
    return task_id


def ended_among(task_ids: Collection[UUID]) -> list[UUID]:
    """Those of the tasks that have ended."""
    query = "SELECT id FROM executions_nodetask WHERE id = ANY(%s) AND ended_at IS NOT NULL"
    return [task_id for (task_id,) in rows_of(query, [list(task_ids)])]


def ending_of(task_id: UUID) -> Ending | None:
    """How the task ended, or None if it is gone or has not."""
    query = """
        SELECT outputs::text, error, suspension::text, is_lost,
            COALESCE(EXTRACT(epoch FROM ended_at - started_at), 0)::float
        FROM executions_nodetask
        WHERE id = %s AND ended_at IS NOT NULL
    """
    for outputs, error, suspension, is_lost, seconds in rows_of(query, [task_id]):
        return Ending(outputs.encode(), error, suspension and json.decode(suspension), is_lost, seconds)
    return None


# --- For whoever runs them --------------------------------------------------------------------------------------


def claim(owner: str, block_ids: Sequence[str]) -> Job | None:
    """Take a task for one of these blocks, if there is any: of the users with least under way, the one asked first."""
    for row in rows_of(_CLAIM, [list(block_ids), owner, settings.LEASE_SECONDS]):
        return Job(*row)
    return None


def keep(job: Job) -> bool:
    """Prolong the lease; false when nobody wants the task any more or another took it."""
    return bool(rows_of(_KEEP, [settings.LEASE_SECONDS, job.id, job.claims]))


def finish(job: Job, ending: Ending) -> bool:
    """Answer, and wake the run; false, with nothing written, when the task is gone or another's."""
    suspension = None if ending.suspension is None else json.encode(ending.suspension).decode()
    with transaction.atomic():
        with connection.cursor() as cursor:
            outputs = ending.outputs.decode()
            cursor.execute(_FINISH, [outputs, ending.error, suspension, ending.is_lost, job.id, job.claims])
            if not cursor.rowcount:
                return False
        GraphExecution.objects.filter(pk=job.run_id).wake()
        queue.ring([job.run_id])
    return True


def release(job: Job) -> None:
    """Give the task back as if it had not been taken."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_RELEASE, [job.id, job.claims])
        queue.ring_for_node()


def forget() -> None:
    """Delete the tasks whose activations have gone on."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET)
