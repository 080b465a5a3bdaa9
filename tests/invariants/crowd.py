"""What holds between runs, and between them and whoever started them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection

from executions.kinds import Status
from executions.models import GraphExecution
from integrations.models import Delivery

_KEYS = """
SELECT min(id::text), trigger_key FROM executions_graphexecution
WHERE (user_id, trigger_key) IN (SELECT user_id, trigger_key FROM executions_graphexecution WHERE id = ANY(%(ids)s))
GROUP BY user_id, trigger_key HAVING count(*) > 1
"""

# How often a run is named by a time of a schedule, or by a delivery for one of its presets.
_NAMED = """
SELECT run_id, 'times of schedules' FROM executions_fire WHERE run_id = ANY(%(ids)s)
GROUP BY run_id HAVING count(*) > 1
UNION ALL
SELECT (o ->> 'run_id')::uuid, 'deliveries' FROM integrations_delivery, jsonb_array_elements(outcomes) AS o
WHERE (o ->> 'run_id')::uuid = ANY(%(ids)s) GROUP BY 1 HAVING count(*) > 1
"""

# (what belongs to a run, whose it is), for everything that names both.
_OWNERS = """
WITH run AS (SELECT * FROM executions_graphexecution WHERE id = ANY(%(ids)s))
SELECT run.id, what FROM run JOIN (
    SELECT r.id, 'parent', p.user_id FROM run r JOIN executions_graphexecution p ON p.id IN (r.parent_id, r.root_id)
    UNION ALL SELECT r.id, 'source', p.user_id FROM run r JOIN executions_graphexecution p ON p.id = r.source_run_id
    UNION ALL SELECT r.id, 'preset', p.user_id FROM run r JOIN library_preset p ON p.id = r.preset_id
    UNION ALL SELECT r.id, 'API key', k.user_id FROM run r JOIN accounts_apikey k ON k.id = r.api_key_id
    UNION ALL SELECT v.run_id, 'review', v.user_id FROM executions_review v WHERE v.run_id = ANY(%(ids)s)
    UNION ALL SELECT u.run_id, 'large value', u.user_id FROM executions_blobuse u WHERE u.run_id = ANY(%(ids)s)
    UNION ALL SELECT h.run_id, 'hold', h.user_id FROM credits_hold h WHERE h.run_id = ANY(%(ids)s)
    UNION ALL SELECT t.run_id, 'charge', t.user_id FROM credits_transfer t WHERE t.run_id = ANY(%(ids)s)
    UNION ALL SELECT f.run_id, 'file', f.user_id FROM files_storedfile f WHERE f.run_id = ANY(%(ids)s)
    UNION ALL SELECT f.run_id, 'schedule', s.user_id FROM executions_fire f
        JOIN executions_schedule s ON s.id = f.schedule_id WHERE f.run_id = ANY(%(ids)s)
    UNION ALL SELECT (o ->> 'run_id')::uuid, 'webhook', w.user_id FROM integrations_delivery d
        JOIN integrations_webhook w ON w.id = d.webhook_id, jsonb_array_elements(d.outcomes) AS o
        WHERE (o ->> 'run_id')::uuid = ANY(%(ids)s)
) AS owned(run_id, what, user_id) ON owned.run_id = run.id AND owned.user_id IS DISTINCT FROM run.user_id
"""


def problems(runs: Iterable[GraphExecution]) -> Iterator[str]:
    """What is wrong between these runs, and between them and others."""
    yield from _places(runs)
    ids = {"ids": [run.pk for run in runs]}
    with connection.cursor() as cursor:
        if any(run.trigger_key for run in runs):
            # I13
            cursor.execute(_KEYS, ids)
            yield from (f"{run_id}: is not the only run for {key}" for run_id, key in cursor.fetchall())
            cursor.execute(_NAMED, ids)
            yield from (f"{run_id}: was started by several {what}" for run_id, what in cursor.fetchall())
        # I14
        cursor.execute(_OWNERS, ids)
        yield from (f"{run_id}: its {what} is somebody else's" for run_id, what in cursor.fetchall())


def inbox() -> Iterator[str]:
    """I13 and I16: whatever was delivered to a webhook was taken up, and the runs that it led to are there."""
    led_to: set[UUID] = set()
    for delivery in Delivery.objects.defer("payload"):
        if delivery.taken_up_at is None:
            yield f"delivery {delivery.pk}: nobody has taken it up"
        led_to |= {UUID(outcome["run_id"]) for outcome in delivery.outcomes if outcome["run_id"]}
    there = GraphExecution.objects.filter(pk__in=led_to, trigger_key__startswith="webhook:").count()
    if there < len(led_to):
        yield f"deliveries led to {len(led_to)} runs, of which {there} are there"


def _places(runs: Iterable[GraphExecution]) -> Iterator[str]:
    """I12: never more under way than there are places, of those runs that kept theirs from the first claim on."""
    moments: dict[tuple[str, UUID], list[tuple[datetime, int]]] = defaultdict(list)
    for run in runs:
        began, ended = run.started_at, run.ended_at
        kept_it = run.status == Status.COMPLETED and run.fence == 1 and run.source_run_id is None
        if kept_it and began is not None and ended is not None:
            for place in ("user", run.user_id), ("graph", run.graph_id):
                moments[place] += [(began, 1), (ended, -1)]
    caps = {"user": settings.RUNS_PER_USER, "graph": settings.RUNS_PER_GRAPH}
    for (kind, key), changes in moments.items():
        most: Counter[str] = Counter()
        for _, change in sorted(changes):
            most["now"] += change
            most["ever"] = max(most["ever"], most["now"])
        if most["ever"] > caps[kind]:
            yield f"{key}: {most['ever']} runs of this {kind} were under way at once, of {caps[kind]}"
