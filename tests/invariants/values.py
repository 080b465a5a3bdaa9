"""What activations gave, and where it went."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from uuid import UUID

from executions.engine.plan import Plan
from executions.models import Blob, BlobUse
from tests.invariants.rows import Arrival, Rows


def results(rows: Rows) -> Iterator[str]:
    """I4: activations and outputs are numbered without gaps, and all that a finished run gave was handed on."""
    nodes = rows.nodes
    fired = Counter(node.node_id for node in nodes)
    for node_id, count in fired.items():
        ordinals = [node.ordinal for node in nodes if node.node_id == node_id]
        if ordinals != list(range(count)):
            yield f"node {node_id} has activations {ordinals}"
    stored = {activation: [output.ordinal for output in given] for activation, given in rows.outputs.items()}
    if stored.keys() - {node.pk for node in nodes}:
        yield "has outputs of activations that are not there"
    for node in nodes:
        if stored.get(node.pk, []) != list(range(node.output_count)):
            yield f"{node} counts {node.output_count} outputs and has {stored.get(node.pk, [])}"
        if node.handed_on > node.output_count or (rows.is_completed and node.handed_on < node.output_count):
            yield f"{node} handed on {node.handed_on} of {node.output_count} outputs"


def arrivals(rows: Rows) -> Iterator[str]:
    """I6: what was handed on to a pin was consumed, once for each activation, or still waits there."""
    plan = rows.plan
    if plan is None:
        return
    if unknown := rows.waiting - rows.came:
        yield f"{len(unknown)} values wait that nobody handed on"
    began = Counter(node.node_id for node in rows.nodes)
    came, wait = by_pin(plan, rows.came), by_pin(plan, rows.waiting & rows.came)
    for node in plan.nodes.values():
        turns = began[node.id] - (node.is_start and began[node.id] > 0)
        for pin in sorted(node.linked):
            consumed = came[node.id, pin] - wait[node.id, pin]
            # A static pin lends the same value again, so there only too much can be seen.
            if consumed > turns or (pin not in node.static and consumed < turns):
                yield f"pin {pin} of {node.block.name} {node.id} lost {consumed} values and had {turns} turns"


def by_pin(plan: Plan, arrivals: Iterable[Arrival]) -> Counter[tuple[UUID, str]]:
    """How many there are on each pin."""
    links = (plan.links[link_id] for _, _, link_id in arrivals)
    return Counter((link.sink.id, link.sink_name) for link in links)


def large_values(rows: Rows) -> Iterator[str]:
    """Every large value is there as it was given, and is known to be needed."""
    run = rows.run
    named = {output.blob for given in rows.outputs.values() for output in given if output.blob}
    named |= {blob for node in rows.nodes for blob in (node.input_blobs or {}).values()}
    used = set(BlobUse.objects.filter(run=run.pk, user_id=run.user_id).values_list("hash", flat=True))
    if named - used:
        yield f"names {len(named - used)} large values that nobody knows to be needed"
    for blob in Blob.objects.filter(user=run.user_id, hash__in=named | used):
        named.discard(blob.hash)
        if hashlib.sha256(blob.encoded).hexdigest() != blob.hash or blob.size != len(blob.encoded):
            yield f"has the large value {blob}, and that is not what was given"
    if named:
        yield f"names {len(named)} large values that are not there"
