"""How far behind the sweepers and beat are: for each rule, the oldest that it should have handled."""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from executions.reading import rows_of

# Runs that wait for a place, or for a worker that knows their blocks, wait rightly.
_QUEUED = """
WITH oldest AS (
    SELECT user_id, graph_id, min(queued_at) AS at FROM executions_graphexecution
    WHERE status = 'QUEUED' AND left_since IS NULL GROUP BY user_id, graph_id
), load AS (
    SELECT user_id, graph_id, count(*) AS of_graph, sum(count(*)) OVER (PARTITION BY user_id) AS of_user
    FROM executions_graphexecution WHERE status = 'RUNNING' GROUP BY user_id, graph_id
), free AS (
    SELECT oldest.* FROM oldest
    WHERE COALESCE((SELECT max(of_user) FROM load WHERE load.user_id = oldest.user_id), 0) < %s
        AND COALESCE((SELECT of_graph FROM load
            WHERE load.user_id = oldest.user_id AND load.graph_id = oldest.graph_id), 0) < %s
)
SELECT r.id, EXTRACT(epoch FROM clock_timestamp() - r.queued_at)::float FROM executions_graphexecution r
JOIN free ON r.user_id = free.user_id AND r.graph_id = free.graph_id AND r.queued_at = free.at
WHERE r.status = 'QUEUED' ORDER BY 2 DESC LIMIT 1
"""

_LAPSED = """
SELECT id, EXTRACT(epoch FROM clock_timestamp() - lease_until)::float FROM executions_graphexecution
WHERE status = 'RUNNING' AND lease_until < clock_timestamp() ORDER BY lease_until LIMIT 1
"""

_DUE = """
SELECT id, EXTRACT(epoch FROM clock_timestamp() - wake_at)::float FROM executions_graphexecution
WHERE status IN ('WAITING', 'REVIEW') AND wake_at < clock_timestamp() ORDER BY wake_at LIMIT 1
"""

_ORPHANED = """
SELECT c.id, EXTRACT(epoch FROM clock_timestamp() - p.ended_at)::float
FROM executions_graphexecution c JOIN executions_graphexecution p ON p.id = c.parent_id
WHERE c.parent_id IS NOT NULL AND c.status IN ('QUEUED', 'REVIEW', 'RUNNING', 'WAITING')
    AND c.cancel_requested_at IS NULL AND p.ended_at IS NOT NULL
ORDER BY p.ended_at LIMIT 1
"""

_UNTAKEN = """
SELECT r.id, EXTRACT(epoch FROM clock_timestamp() - COALESCE(t.lease_until, t.asked_at))::float
FROM executions_nodetask t JOIN executions_graphexecution r ON r.id = t.run_id
WHERE t.ended_at IS NULL AND (t.lease_until IS NULL OR t.lease_until < clock_timestamp())
    AND r.ended_at IS NULL AND r.cancel_requested_at IS NULL
    AND NOT EXISTS (
        SELECT FROM executions_nodetask o WHERE o.ended_at IS NULL AND o.lease_until >= clock_timestamp())
ORDER BY 2 DESC LIMIT 1
"""

_UNFIRED = """
SELECT id, EXTRACT(epoch FROM clock_timestamp() - next_fire_at)::float FROM executions_schedule
WHERE next_fire_at < clock_timestamp() ORDER BY next_fire_at LIMIT 1
"""

_UNREAD = """
SELECT id, EXTRACT(epoch FROM clock_timestamp() - received_at)::float FROM integrations_delivery
WHERE taken_up_at IS NULL ORDER BY received_at, id LIMIT 1
"""

RULES = ("queued", "lapsed", "due", "orphaned", "isolated")


@dataclass(frozen=True, slots=True)
class Overdue:
    """The oldest run that a rule has not handled yet, and since how many seconds it should have been."""

    rule: str
    run_id: UUID
    seconds: float


def overdue() -> list[Overdue]:
    """The oldest run of each of the `RULES` that has any.

    Isolated blocks may wait while others run: only if no worker runs any is one overdue.
    """
    places = [settings.RUNS_PER_USER, settings.RUNS_PER_GRAPH]
    questions = [(_QUEUED, places), (_LAPSED, []), (_DUE, []), (_ORPHANED, []), (_UNTAKEN, [])]
    return [Overdue(rule, *row) for rule, question in zip(RULES, questions, strict=True) for row in rows_of(*question)]


def unfired() -> tuple[UUID, float] | None:
    """The schedule that has been due for the most seconds, and how many; None if none is due."""
    for schedule_id, seconds in rows_of(_UNFIRED, []):
        return schedule_id, seconds
    return None


def unread() -> tuple[UUID, float] | None:
    """The delivery of a webhook that has waited in the inbox for the most seconds, and how many; None if none waits."""
    for delivery_id, seconds in rows_of(_UNREAD, []):
        return delivery_id, seconds
    return None
