"""How a run lives and ends."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from executions.kinds import FINAL, EventKind, NodeStatus
from tests.invariants.rows import Rows

# A worker hears that its run was stopped with its next commit or look at its leases.
GRACE = timedelta(seconds=5)
_ENDS = {EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_TERMINATED}
_NODE_ENDS = {EventKind.NODE_COMPLETED, EventKind.NODE_FAILED, EventKind.NODE_TERMINATED}


def rest(rows: Rows) -> Iterator[str]:
    """I1, I3, I11 and I16: it has ended, nobody holds it, nothing in it is under way."""
    run, nodes = rows.run, rows.nodes
    if run.status not in FINAL:
        yield f"has not ended, it is {run.status}"
        return
    if run.lease_until is not None or run.wake_at is not None:
        yield "has ended and still has a lease or a time to wake"
    for node in nodes:
        if node.ended_at is None:
            yield f"has ended, but {node} is open"
        if node.started_fence > run.fence:
            yield f"{node} bears fence {node.started_fence}, above its run's {run.fence}"
    if run.node_count != len(nodes):
        yield f"counts {run.node_count} activations and has {len(nodes)}"
    failed = sum(node.status == NodeStatus.FAILED for node in nodes)
    if run.node_error_count != failed:
        yield f"counts {run.node_error_count} failures and has {failed}"
    if len(nodes) > run.node_budget:
        yield f"has {len(nodes)} activations, above its budget of {run.node_budget}"


def events(rows: Rows) -> Iterator[str]:
    """I2 and I7: numbered 1 to n, queued first, ended once, and nothing after the end."""
    run, told = rows.run, rows.events
    if [event.seq for event in told] != list(range(1, run.head_seq + 1)):
        yield f"has events {[event.seq for event in told]} and a head of {run.head_seq}"
    kinds = [event.kind for event in told]
    if kinds[:1] != [EventKind.RUN_QUEUED] or kinds.count(EventKind.RUN_QUEUED) != 1:
        yield f"was not queued once and first: {kinds}"
    if kinds.count(EventKind.RUN_STARTED) > 1:
        yield "was started twice"
    ends = [kind for kind in kinds if kind in _ENDS]
    expected = [f"run.{run.status.lower()}"] if run.status in FINAL else []
    if ends != expected or (ends and kinds[-1] not in _ENDS):
        yield f"is {run.status}, and its events say {ends}, the last being {kinds[-1:]}"


def events_of_activations(rows: Rows) -> Iterator[str]:
    """I7: what events say of an activation is what its row says, and each ended once, last."""
    unknown = rows.events_of.keys() - {node.pk for node in rows.nodes}
    if unknown:
        yield f"has events of activations that are not there: {sorted(map(str, unknown))}"
    for node in rows.nodes:
        mine = rows.events_of.get(node.pk, [])
        ends = [event.kind for event in mine if event.kind in _NODE_ENDS]
        expected = [f"node.{node.status.lower()}"] if node.ended_at is not None else []
        if ends != expected or (ends and mine[-1].kind not in _NODE_ENDS):
            yield f"{node}: its events say {[event.kind for event in mine]}"
        elif ends and mine[-1].outputs != node.output_count:
            yield f"{node} gave {node.output_count} outputs, its last event says {mine[-1].outputs}"
        if any(later.outputs < earlier.outputs for earlier, later in pairwise(mine)):
            yield f"{node}: its events take outputs back"


def after_stopping(rows: Rows) -> Iterator[str]:
    """I17: nothing begins in a run that somebody stopped a while ago."""
    stopped_at = rows.run.cancel_requested_at
    if stopped_at is None:
        return
    for event in rows.events:
        if event.kind == EventKind.NODE_STARTED and event.at > stopped_at + GRACE:
            yield f"began {event.node_execution_id} {event.at - stopped_at} after it was stopped"
