"""Forgetting what the times of schedules led to long ago."""

from django.db import connection

KEPT_DAYS = 90
_BATCH = 10_000

# A time is acted on again only from `next_fire_at` on, so nothing that is older is needed to keep it from starting a
# second run; the newest of a schedule tells what it did last.
_FORGET = """
DELETE FROM executions_fire WHERE (schedule_id, fire_at) IN (
    SELECT old.schedule_id, old.fire_at FROM executions_schedule s CROSS JOIN LATERAL (
        SELECT f.schedule_id, f.fire_at FROM executions_fire f
        WHERE f.schedule_id = s.id AND f.fire_at < clock_timestamp() - make_interval(days => %(days)s)
            AND f.fire_at < COALESCE(s.next_fire_at, 'infinity')
            AND f.fire_at < (SELECT max(newest.fire_at) FROM executions_fire newest WHERE newest.schedule_id = s.id)
        LIMIT %(batch)s
    ) AS old LIMIT %(batch)s)
"""


def forget_fires() -> int:
    """Delete what is known of times of more than 90 days ago but the newest of each schedule; returns how many."""
    forgotten = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_FORGET, {"days": KEPT_DAYS, "batch": _BATCH})
            deleted: int = cursor.rowcount
            forgotten += deleted
            if deleted < _BATCH:
                return forgotten
