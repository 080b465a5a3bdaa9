"""Blocks that run in processes of their own: asked for by the engine, taken and answered by any worker.

A row is a turn of a block. Whoever takes it gets a lease and a number, as with runs, and may answer as long as that
number is the last. What the block gives is handed on in parts, while it runs and when it ends; each part, and the end,
is one transaction with the news of it. Only the database's clock is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from django.conf import settings
from django.db import connection, transaction

from core import json
from core.sql import fetch_prepared
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
RETURNING t.id, t.run_id, t.claims, t.output_count, next.block_id, COALESCE(t.input_data, next.input_data)::text,
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

# How many outputs of this turn the run has committed is what it gave since it began to wait for the turn.
_ADD_PART = f"""
WITH own AS (
    UPDATE executions_nodetask t SET
        output_count = %(end)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM executions_nodeexecution n, executions_graphexecution r
    WHERE t.id = %(task)s AND t.claims = %(claims)s AND n.id = t.node_execution_id AND r.id = t.run_id AND {_WANTED}
    RETURNING t.id
)
INSERT INTO executions_nodetaskpart (task_id, first, count, outputs)
SELECT id, %(first)s, %(count)s, %(outputs)s FROM own
ON CONFLICT (task_id, first) DO UPDATE SET count = excluded.count, outputs = excluded.outputs
RETURNING task_id
"""  # noqa: S608  both parts are constants

_TAKEN_UP = """
SELECT n.output_count - (n.waits -> t.turn ->> 'outputs')::int FROM executions_nodetask t
JOIN executions_nodeexecution n ON n.id = t.node_execution_id WHERE t.id = %s
"""

_FINISH = """
WITH own AS (
    UPDATE executions_nodetask SET
        output_count = %(end)s, used_tokens = %(tokens)s, error = %(error)s, later = %(later)s,
        suspension = %(suspension)s, is_lost = %(is_lost)s, ended_at = clock_timestamp(), lease_until = NULL
    WHERE id = %(task)s AND claims = %(claims)s AND ended_at IS NULL
    RETURNING id
), last AS (
    INSERT INTO executions_nodetaskpart (task_id, first, count, outputs)
    SELECT id, %(first)s, %(count)s, %(outputs)s FROM own WHERE %(count)s > 0
    ON CONFLICT (task_id, first) DO UPDATE SET count = excluded.count, outputs = excluded.outputs
)
SELECT id FROM own
"""

_LEAVE = "UPDATE executions_nodetask SET lease_until = NULL WHERE id = %s AND claims = %s"

_RELEASE = "UPDATE executions_nodetask SET claims = claims - 1, lease_until = NULL WHERE id = %s AND claims = %s"

_FORGET = """
WITH gone AS (
    DELETE FROM executions_nodetask t USING executions_nodeexecution n
    WHERE n.id = t.node_execution_id AND (n.ended_at IS NOT NULL OR jsonb_array_length(n.waits) > t.turn + 1)
        AND (t.lease_until IS NULL OR t.lease_until < clock_timestamp())
    RETURNING t.id
)
DELETE FROM executions_nodetaskpart p USING gone WHERE p.task_id = gone.id
"""

# Both in one snapshot: once it has ended, no part can follow that was not seen.
_NEWS = """
SELECT p.outputs, p.count, t.ended_at IS NOT NULL, t.error, t.later, t.suspension::text, t.is_lost, t.used_tokens,
    COALESCE(EXTRACT(epoch FROM t.ended_at - t.started_at), 0)::float
FROM executions_nodetask t LEFT JOIN executions_nodetaskpart p ON p.task_id = t.id AND p.first = %s
WHERE t.id = %s
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A task that this process has taken; `input_data`, `large_inputs`, which win over it, and `context` are JSON.

    `output_count` is how many outputs an earlier worker has handed on.
    """

    id: UUID
    run_id: UUID
    claims: int
    output_count: int
    block_id: str
    input_data: str
    large_inputs: str
    context: str
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """Outputs that a block gave, one after the other: (pin, value) pairs as JSON, and how many."""

    outputs: bytes = b"[]"
    count: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a block that ran apart ended: with `error`, wanting to wait for `suspension` (as JSON), or well.

    `later` is in how many seconds it asks to be tried again. `is_lost` says that nobody knows how far it came.
    `used_tokens` are those that it said it used, `seconds` is how long it took.
    """

    error: str = ""
    later: float = 0.0
    suspension: dict[str, Any] | None = None
    is_lost: bool = False
    used_tokens: int = 0
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


def with_news(taken_up: Mapping[UUID, int]) -> list[UUID]:
    """Those of the tasks that have ended, or have given more outputs than were taken up, which the mapping says."""
    query = """
        SELECT t.id FROM executions_nodetask t
        JOIN unnest(%s::uuid[], %s::int[]) AS asked(id, taken_up) ON asked.id = t.id
        WHERE t.ended_at IS NOT NULL OR t.output_count > asked.taken_up
    """
    return [task_id for (task_id,) in rows_of(query, [list(taken_up), list(taken_up.values())])]


def news_of(task_id: UUID, position: int) -> Part | Ending | None:
    """What the task has given from this position on; nothing yet is an empty part, and without more to come its end.

    `position` counts the outputs of the parts before. None if the task is gone.
    """
    for outputs, count, has_ended, error, later, suspension, *rest in rows_of(_NEWS, [position, task_id]):
        if outputs is not None:
            return Part(bytes(outputs), count)
        if has_ended:
            return Ending(error, later, suspension and json.decode(suspension), *rest)
        return Part()
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


def hand_on(job: Job, first: int, part: Part, *, is_followed: bool = False) -> bool:
    """Give the run what the block has given since output `first`, and wake it; prolongs the lease.

    A run that has just had a part, and `is_followed`, looks for the next one itself. Said again for the same `first`,
    the new one counts. False, with nothing written, when nobody wants it any more.
    """
    with transaction.atomic():
        if not fetch_prepared(_ADD_PART, {**_part_of(job, first, part), "lease": settings.LEASE_SECONDS}):
            return False
        _tell(job, is_followed=is_followed)
    return True


def taken_up(job: Job) -> int:
    """How many outputs of the task the run has committed."""
    return next((count or 0 for (count,) in rows_of(_TAKEN_UP, [job.id])), 0)


def finish(job: Job, first: int, last: Part, ending: Ending) -> bool:
    """Answer with the last outputs, from number `first` on, and the end, and wake the run.

    False, with nothing written, when the task is gone or another's.
    """
    answer = {
        **_part_of(job, first, last),
        "tokens": ending.used_tokens,
        "error": ending.error,
        "later": ending.later,
        "suspension": None if ending.suspension is None else json.encode(ending.suspension).decode(),
        "is_lost": ending.is_lost,
    }
    with transaction.atomic():
        if not fetch_prepared(_FINISH, answer):
            return False
        _tell(job, is_followed=False)
    return True


def release(job: Job) -> None:
    """Give the task back as if it had not been taken."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_RELEASE, [job.id, job.claims])
        queue.ring_for_node()


def leave(job: Job) -> None:
    """Look after the task no longer. Whoever takes it, should it still be wanted, finds that its block had begun."""
    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, [job.id, job.claims])


def forget() -> None:
    """Delete the tasks whose activations have gone on."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET)


def _part_of(job: Job, first: int, part: Part) -> dict[str, Any]:
    return {
        "task": job.id,
        "claims": job.claims,
        "first": first,
        "count": part.count,
        "end": first + part.count,
        "outputs": part.outputs,
    }


def _tell(job: Job, *, is_followed: bool) -> None:
    """Wake the run, and unless it looks for itself tell its worker."""
    was_parked = GraphExecution.objects.filter(pk=job.run_id).wake()
    if was_parked or not is_followed:
        queue.ring([job.run_id])
