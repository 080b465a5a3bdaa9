"""What transfers come to, kept by day, so that no request adds up millions of them.

Charges are not slowed down by it: a job of beat's adds the new transfers to the totals, each once, and whoever reads
adds those that it has not come to. Ids are given out before transactions commit, so one may appear below others that
are added up already. Therefore the job first only notes the highest id that it sees and the next transaction's number;
once all transactions before that one have ended, no transfer up to the id can appear any more, and it adds them up.
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from credits.models import Fold

# As many ids are added up in one transaction.
_BATCH = 50_000

_DIMENSIONS = """
    left(coalesce(metadata->>'graph_id', ''), 36) AS graph_id,
    left(coalesce(metadata->>'block_id', ''), 36) AS block_id,
    left(coalesce(metadata->>'model', metadata->'input'->>'model', ''), 200) AS model,
    left(coalesce(metadata->>'api_key_id', ''), 36) AS api_key_id,
    CASE WHEN credit = 'user' THEN amount ELSE -amount END AS change
"""
_DAY = "(at AT TIME ZONE 'UTC')::date"
_FOLD = f"""
INSERT INTO credits_daytotal AS t (user_id, day, kind, graph_id, block_id, model, api_key_id, change, count)
SELECT user_id, day, kind, graph_id, block_id, model, api_key_id, sum(change), count(*)
FROM (
    SELECT user_id, {_DAY} AS day, kind, {_DIMENSIONS}
    FROM credits_transfer WHERE id > %s AND id <= %s AND user_id IS NOT NULL
) AS new
GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT (user_id, day, kind, graph_id, block_id, model, api_key_id)
DO UPDATE SET change = t.change + excluded.change, count = t.count + excluded.count
"""  # noqa: S608  no outside text

# Both halves in one statement, so that they are of one moment: no transfer is in both or in neither.
TOTALS = f"""
SELECT user_id, day, kind, graph_id, block_id, model, api_key_id, change, count
FROM credits_daytotal WHERE user_id = ANY(%(users)s)
UNION ALL
SELECT user_id, {_DAY}, kind, {_DIMENSIONS}, 1
FROM credits_transfer
WHERE id > COALESCE((SELECT done FROM credits_fold), 0) AND user_id = ANY(%(users)s)
"""  # noqa: S608  no outside text

_BALANCES = f"""
WITH total AS MATERIALIZED ({TOTALS}), asked AS (
    SELECT id, user_id, {_DAY} AS day FROM credits_transfer WHERE id = ANY(%(ids)s)
), days AS (
    SELECT DISTINCT user_id, day FROM asked
), opening AS (
    SELECT d.user_id, d.day, COALESCE(sum(total.change), 0) AS balance
    FROM days d LEFT JOIN total ON total.user_id = d.user_id AND total.day < d.day GROUP BY 1, 2
), moved AS MATERIALIZED (
    SELECT of_day.* FROM days d, LATERAL (
        SELECT t.id,
            sum(CASE WHEN t.credit = 'user' THEN t.amount ELSE -t.amount END) OVER (ORDER BY t.at, t.id) AS change
        FROM credits_transfer t WHERE t.user_id = d.user_id
            AND t.at >= d.day::timestamp AT TIME ZONE 'UTC' AND t.at < (d.day + 1)::timestamp AT TIME ZONE 'UTC'
    ) AS of_day
)
SELECT asked.id, (opening.balance + moved.change)::bigint
FROM asked JOIN opening USING (user_id, day) JOIN moved USING (id)
"""  # noqa: S608  no outside text


def fold_transfers() -> int:
    """Add up the transfers that nothing can come between any more; returns how many ids that were.

    However often and by however many it is called, each transfer counts once.
    """
    folded = 0
    while step := _fold_some():
        folded += step
    return folded


def balance_before(user_id: UUID, day: date) -> int:
    """What all transfers before this day of UTC came to, in micro-credits; a hold is not among them."""
    statement = f"SELECT COALESCE(sum(change), 0)::bigint FROM ({TOTALS}) AS total WHERE day < %(day)s"  # noqa: S608
    return int(fetch(statement, {"users": [user_id], "day": day})[0][0])


def balances_after(user_ids: Collection[UUID], transfer_ids: Sequence[int]) -> dict[int, int]:
    """What all transfers of its user up to each of these transfers came to, in micro-credits, by its id."""
    return dict(fetch(_BALANCES, {"users": list(user_ids), "ids": list(transfer_ids)})) if transfer_ids else {}


def fetch(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """All rows of a statement about totals."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _fold_some() -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        fold = Fold.objects.locked()
        if fold is None:
            return 0
        before, step = fold.done, 0
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        if fold.next > fold.done and cursor.fetchone()[0] >= fold.before_xid:
            fold.done = min(fold.next, before + _BATCH)
            cursor.execute(_FOLD, [before, fold.done])
            step = fold.done - before
        if fold.done == fold.next:
            cursor.execute(
                "SELECT COALESCE((SELECT max(id) FROM credits_transfer), 0),"
                " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            )
            fold.next, fold.before_xid = cursor.fetchone()
        fold.save()
    return step
