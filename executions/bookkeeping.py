"""What has to be done about credits now and then, whether or not anybody asks."""

from django.db import connection

from credits import holds
from credits.balances import mode, refill
from credits.kinds import Mode
from executions.models import GraphExecution
from executions.reading import rows_of

# What a block under way was promised is not to go back, however long it takes.
_KEEP = f"""
WITH used AS MATERIALIZED (
    SELECT h.run_id FROM credits_hold h JOIN executions_graphexecution r ON r.id = h.run_id
    WHERE h.released_at IS NULL AND h.expires_at < clock_timestamp() + interval '1 day' AND r.status = 'RUNNING'
    ORDER BY h.run_id FOR UPDATE OF h SKIP LOCKED
)
UPDATE credits_hold h SET expires_at = clock_timestamp() + make_interval(hours => {holds.HOURS})
FROM used WHERE h.run_id = used.run_id
"""  # noqa: S608  no outside text

# In SQL: the holds of deleted runs are released when they have been there for so long.
RELEASED_AFTER = "interval '1 hour'"

# Their graph was deleted, and all its runs with it.
_ABANDONED = f"""
SELECT h.run_id FROM credits_hold h
WHERE h.released_at IS NULL AND h.placed_at < clock_timestamp() - {RELEASED_AFTER}
    AND NOT EXISTS (SELECT FROM executions_graphexecution r WHERE r.id = h.run_id)
LIMIT 1000
"""  # noqa: S608  no outside text


def release_abandoned() -> None:
    """Give back what is on hold for runs that were deleted under way, an hour after they began at the earliest."""
    for (run_id,) in rows_of(_ABANDONED, []):
        holds.release(run_id)


def tidy_up() -> None:
    """Empty holds that nobody uses, release those of deleted runs, and refill users whose runs wait for credits."""
    with connection.cursor() as cursor:
        cursor.execute(_KEEP)
    holds.expire()
    release_abandoned()
    if mode() is Mode.MONTHLY:
        waiting = GraphExecution.objects.filter(needs_credits__isnull=False)
        for user_id in waiting.values_list("user_id", flat=True).distinct():
            refill(user_id)
