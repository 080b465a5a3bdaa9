"""What must hold of the rows of every run once nothing moves any more, whatever happened to the workers meanwhile."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from uuid import UUID

from django.db.models import Q

from core.errors import DomainError
from credits.kinds import Kind
from credits.models import Hold, Transfer
from executions import blobs, prices
from executions.engine.plan import Plan, compile_plan
from executions.kinds import FINAL, EventKind, NodeStatus
from executions.models import Blob, BlobUse, Event, GraphExecution, NodeExecution, NodeOutput, Review, Token
from graphs import pins
from graphs.blocks.registry import BLOCKS
from graphs.services import load_definition
from integrations.models import Delivery

_ENDS = {EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_TERMINATED}
_NODE_ENDS = {EventKind.NODE_COMPLETED, EventKind.NODE_FAILED, EventKind.NODE_TERMINATED}


def violations(run_ids: Iterable[UUID] | None = None) -> list[str]:
    """Every broken promise, as a sentence that names the run; of the given runs and their descendants, or of all.

    Of all it is also the inbox of webhooks that is looked at.
    """
    runs = GraphExecution.objects.all()
    if run_ids is not None:
        ids = list(run_ids)
        runs = runs.filter(Q(pk__in=ids) | Q(root_id__in=ids))
    inbox = _inbox() if run_ids is None else ()
    return [f"{run.pk}: {problem}" for run in runs for problem in _problems(run)] + list(inbox)


def _inbox() -> Iterator[str]:
    """I13 and I16: each delivery was taken up, and led to a run of its own for each preset that it started."""
    started: Counter[str] = Counter()
    for delivery in Delivery.objects.defer("payload"):
        if delivery.taken_up_at is None:
            yield f"delivery {delivery.pk}: nobody has taken it up"
        started.update(outcome["run_id"] for outcome in delivery.outcomes if outcome["run_id"])
    if shared := [run_id for run_id, count in started.items() if count > 1]:
        yield f"runs that several deliveries started: {shared}"
    events = GraphExecution.objects.filter(trigger_key__startswith="webhook:").count()
    if len(started) > events:
        yield f"deliveries started {len(started)} runs, and there are {events}"


def _problems(run: GraphExecution) -> Iterator[str]:
    nodes = list(NodeExecution.objects.filter(run=run.pk).order_by("node_id", "ordinal"))
    outputs = list(NodeOutput.objects.filter(run=run.pk).order_by("node_execution_id", "ordinal"))
    events = list(Event.objects.filter(run=run.pk).order_by("seq"))
    yield from _rest(run, nodes)
    yield from _events(run, events)
    yield from _events_of_nodes(nodes, events)
    yield from _results(run, nodes, outputs)
    yield from _tokens(run, nodes, outputs)
    yield from _large_values(run, nodes, outputs)
    yield from _children(run, nodes)
    yield from _reviews(run, nodes)
    yield from _credits(run, nodes)


def _rest(run: GraphExecution, nodes: list[NodeExecution]) -> Iterator[str]:
    """I1, I3, I11 and I16: it has ended, nobody holds it, nothing in it is under way."""
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


def _events(run: GraphExecution, events: list[Event]) -> Iterator[str]:
    """I2 and I7: numbered 1 to n, queued first, ended once, and nothing after the end."""
    if [event.seq for event in events] != list(range(1, run.head_seq + 1)):
        yield f"has events {[event.seq for event in events]} and a head of {run.head_seq}"
    kinds = [event.kind for event in events]
    if kinds[:1] != [EventKind.RUN_QUEUED] or kinds.count(EventKind.RUN_QUEUED) != 1:
        yield f"was not queued once and first: {kinds}"
    if kinds.count(EventKind.RUN_STARTED) > 1:
        yield "was started twice"
    ends = [kind for kind in kinds if kind in _ENDS]
    expected = [f"run.{run.status.lower()}"] if run.status in FINAL else []
    if ends != expected or (ends and kinds[-1] not in _ENDS):
        yield f"is {run.status}, and its events say {ends}, the last being {kinds[-1:]}"


def _events_of_nodes(nodes: list[NodeExecution], events: list[Event]) -> Iterator[str]:
    """I7: what events say of an activation is what its row says, and each ended once, last."""
    told: dict[UUID, list[Event]] = {}
    for event in events:
        if event.node_execution_id is not None:
            told.setdefault(event.node_execution_id, []).append(event)
    unknown = told.keys() - {node.pk for node in nodes}
    if unknown:
        yield f"has events of activations that are not there: {sorted(map(str, unknown))}"
    for node in nodes:
        mine = told.get(node.pk, [])
        ends = [event.kind for event in mine if event.kind in _NODE_ENDS]
        expected = [f"node.{node.status.lower()}"] if node.ended_at is not None else []
        if ends != expected or (ends and mine[-1].kind not in _NODE_ENDS):
            yield f"{node}: its events say {[event.kind for event in mine]}"
        elif ends and mine[-1].outputs != node.output_count:
            yield f"{node} gave {node.output_count} outputs, its last event says {mine[-1].outputs}"
        if any(later.outputs < earlier.outputs for earlier, later in pairwise(mine)):
            yield f"{node}: its events take outputs back"


def _results(run: GraphExecution, nodes: list[NodeExecution], outputs: list[NodeOutput]) -> Iterator[str]:
    """I4: activations and outputs are numbered without gaps, and all that a finished run gave was handed on."""
    fired = Counter(node.node_id for node in nodes)
    for node_id, count in fired.items():
        ordinals = [node.ordinal for node in nodes if node.node_id == node_id]
        if ordinals != list(range(count)):
            yield f"node {node_id} has activations {ordinals}"
    stored: dict[UUID, list[int]] = {}
    for output in outputs:
        stored.setdefault(output.node_execution_id, []).append(output.ordinal)
    if stored.keys() - {node.pk for node in nodes}:
        yield "has outputs of activations that are not there"
    for node in nodes:
        if stored.get(node.pk, []) != list(range(node.output_count)):
            yield f"{node} counts {node.output_count} outputs and has {stored.get(node.pk, [])}"
        if node.handed_on > node.output_count or (run.status == "COMPLETED" and node.handed_on < node.output_count):
            yield f"{node} handed on {node.handed_on} of {node.output_count} outputs"


def _tokens(run: GraphExecution, nodes: list[NodeExecution], outputs: list[NodeOutput]) -> Iterator[str]:
    """I6: what was handed on to a pin was consumed, once for each activation, or still waits there."""
    try:
        plan = compile_plan(load_definition(run.graph_id, run.graph_version), BLOCKS.get)
    except DomainError:
        return  # a block is gone: nobody can tell any more what went where
    produced = _produced(run, plan, {node.pk: node for node in nodes}, outputs)
    pending = {(token.source_id, token.ordinal, token.link_id) for token in Token.objects.filter(run=run.pk)}
    if pending - produced:
        yield f"{len(pending - produced)} values wait that nobody handed on"
    began = Counter(node.node_id for node in nodes)
    came, wait = _by_pin(plan, produced), _by_pin(plan, pending & produced)
    for node in plan.nodes.values():
        turns = began[node.id] - (node.is_start and began[node.id] > 0)
        for pin in sorted(node.linked):
            consumed = came[node.id, pin] - wait[node.id, pin]
            # A static pin lends the same value again, so there only too much can be seen.
            if consumed > turns or (pin not in node.static and consumed < turns):
                yield f"pin {pin} of {node.block.name} {node.id} lost {consumed} values and had {turns} turns"


def _produced(
    run: GraphExecution, plan: Plan, nodes: dict[UUID, NodeExecution], outputs: list[NodeOutput]
) -> set[tuple[UUID, int, UUID]]:
    """The (activation, output, link) of every value that reached a pin."""
    large = blobs.values_of(run.user_id, (output.blob for output in outputs))
    return {
        (output.node_execution_id, output.ordinal, link.id)
        for output in outputs
        if (node := nodes.get(output.node_execution_id)) is not None and output.ordinal < node.handed_on
        for link in plan.nodes[node.node_id].links_from(output.pin)
        if pins.split(
            large[output.blob] if output.blob else output.value,
            output.pin,
            link.source_name,
            (str(link.sink.id), link.sink_name),
        )
        is not pins.MISSING
    }


def _by_pin(plan: Plan, tokens: Iterable[tuple[UUID, int, UUID]]) -> Counter[tuple[UUID, str]]:
    links = (plan.links[link_id] for _, _, link_id in tokens)
    return Counter((link.sink.id, link.sink_name) for link in links)


def _large_values(run: GraphExecution, nodes: list[NodeExecution], outputs: list[NodeOutput]) -> Iterator[str]:
    """Every large value is there as it was given, and is known to be needed."""
    named = {output.blob for output in outputs if output.blob}
    named |= {blob for node in nodes for blob in (node.input_blobs or {}).values()}
    used = set(BlobUse.objects.filter(run=run.pk, user_id=run.user_id).values_list("hash", flat=True))
    if named - used:
        yield f"names {len(named - used)} large values that nobody knows to be needed"
    for blob in Blob.objects.filter(user=run.user_id, hash__in=named | used):
        named.discard(blob.hash)
        if hashlib.sha256(blob.encoded).hexdigest() != blob.hash or blob.size != len(blob.encoded):
            yield f"has the large value {blob}, and that is not what was given"
    if named:
        yield f"names {len(named)} large values that are not there"


def _credits(run: GraphExecution, nodes: list[NodeExecution]) -> Iterator[str]:
    """I8 and I11: each result that costs something was charged once, nothing else was, and no hold is left."""
    charged = Counter(Transfer.objects.filter(run_id=run.pk, kind=Kind.USAGE).values_list("key", flat=True))
    fees = {key for key in charged if ":fee:" in key}
    due: set[str] = set()
    possible: set[str] = set()
    for node in nodes:
        is_own = node.status == NodeStatus.COMPLETED and node.started_fence > 0
        if run.price_version is not None and is_own and str(node.node_id) not in run.nodes_to_skip:
            entries = prices.of(run.price_version).of(BLOCKS.get(node.block_id))
            if (entry := prices.matching(entries, node.input_data)) is not None and entry.amount:
                # Of what is measured there may be none.
                (due if entry.per == "run" else possible).add(f"use:{run.pk}:{node.node_id}:{node.ordinal}:{entry.per}")
    keys = charged.keys() - fees
    if due - keys or keys - due - possible or any(count > 1 for count in charged.values()):
        yield f"was charged {sorted(charged)} for {sorted(due)}"
    for hold in Hold.objects.filter(run_id=run.pk):
        if run.status in FINAL and (hold.released_at is None or hold.amount or hold.pool):
            yield f"has ended and holds {hold.amount + hold.pool} micro-credits"
        if hold.cap is not None and hold.taken > hold.cap:
            yield f"used {hold.taken} of a budget of {hold.cap}"


def _children(run: GraphExecution, nodes: list[NodeExecution]) -> Iterator[str]:
    """I10: one child for each call, and none that outlives its parent."""
    children = {child.pk: child for child in GraphExecution.objects.filter(parent=run.pk)}
    called = Counter(UUID(wait["child"]) for node in nodes for wait in node.waits if "child" in wait)
    known = set(children)
    if run.source_run_id is not None:
        known |= set(GraphExecution.objects.filter(pk__in=called, status="COMPLETED").values_list("pk", flat=True))
    if any(count > 1 for count in called.values()) or called.keys() - known:
        yield f"calls {sorted(map(str, called))} and has children {sorted(map(str, children))}"
    if run.status == "COMPLETED" and children.keys() - called.keys():
        yield f"has {len(children.keys() - called.keys())} children that no activation called"
    for child in children.values():
        if run.status in FINAL and child.status not in FINAL:
            yield f"has ended, its child {child} has not"


def _reviews(run: GraphExecution, nodes: list[NodeExecution]) -> Iterator[str]:
    """Each question to a person is a row of its own, and a completed run has no open one."""
    asked = Counter(UUID(wait["review"]) for node in nodes for wait in node.waits if "review" in wait)
    decided = dict(Review.objects.filter(pk__in=asked).values_list("pk", "decided_at"))
    if any(count > 1 for count in asked.values()) or asked.keys() - decided.keys():
        yield f"asks for reviews {sorted(map(str, asked))} and has {sorted(map(str, decided))}"
    if run.status == "COMPLETED" and None in decided.values():
        yield "is COMPLETED and waits for a decision"
