"""The work this app hands to Celery, by name."""

from collections.abc import Sequence
from uuid import UUID

from core.after_commit import send
from core.broker import Hint, Task
from executions.failpoints import failpoint

RING = "executions.ring"
RUN_NODE = "executions.run_node"
FIRE_SCHEDULES = "executions.fire_schedules"
TAKE_UP_DELIVERIES = "executions.take_up_deliveries"
FORGET_BLOBS = "executions.forget_blobs"
FORGET_FIRES = "executions.forget_fires"
TIDY_CREDITS = "executions.tidy_credits"
AUDIT_LEDGER = "executions.audit_ledger"
RUNS_PER_DOORBELL = 25


def ring(run_ids: Sequence[UUID], hints: Sequence[Hint] = ()) -> None:
    """Tell workers, once the transaction commits, that these runs may have something to do; hints go along.

    Many runs are told of in several messages, so that several workers share them.
    """
    failpoint("ring.before")
    chunks = [run_ids[start : start + RUNS_PER_DOORBELL] for start in range(0, len(run_ids), RUNS_PER_DOORBELL)]
    send([_doorbell(chunk) for chunk in chunks], hints)
    failpoint("ring.after")


def ring_for_node() -> None:
    """Tell some worker of the queue `isolated`, once the transaction commits, that there is a task to take."""
    send([Task(RUN_NODE, "isolated", {})])


def _doorbell(run_ids: Sequence[UUID]) -> Task:
    return Task(RING, "runs", {"run_ids": [str(run_id) for run_id in run_ids]})
