"""The work this app hands to Celery, by name."""

from collections.abc import Sequence
from uuid import UUID

from core.after_commit import send_task
from executions.failpoints import failpoint

RING = "executions.ring"


def ring(run_ids: Sequence[UUID]) -> None:
    """Tell some worker, once the transaction commits, that these runs may have something to do."""
    failpoint("ring.before")
    send_task(RING, queue="runs", run_ids=[str(run_id) for run_id in run_ids])
    failpoint("ring.after")
