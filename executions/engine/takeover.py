"""What a new run takes over from one that has ended: activations, and values that wait on pins. Pure.

Who consumed what follows from the order in which values arrived, as it did in the run: so the rows alone tell it.
"""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from executions.engine.plan import Plan, PlanLink
from executions.engine.state import Inbox, Token
from executions.engine.waits import question_of
from executions.kinds import NodeStatus
from graphs import pins

OutputKey = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class Past:
    """An activation of the run that has ended. `reopened` means that the new run goes on with it."""

    id: UUID
    node_id: UUID
    ordinal: int
    status: NodeStatus
    attempt: int
    output_count: int
    handed_on: int
    waits: list[dict[str, Any]]
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class PastOutput:
    """An output that was handed on. Its value is there where a link takes a part of it, or into a shared pin."""

    source_id: UUID
    ordinal: int
    pin: str
    value: Any


@dataclass(frozen=True, slots=True)
class PastToken:
    """A value on a pin, by the output it came from and the link that brought it."""

    source_id: UUID
    ordinal: int
    link_id: UUID


@dataclass(frozen=True, slots=True)
class Remains:
    """What the ended run left: `tokens` in order of their positions, and the ids of what it asked and has an answer.

    A run that was called has one if it COMPLETED, a person if they decided; but not if they kept a block from running.
    `told` has the events of each activation, in order: how many outputs it had given by then, and the event's number.
    `inputs` has what activations of nodes with shared pins were given.
    """

    activations: Sequence[Past]
    told: Mapping[UUID, Sequence[tuple[int, int]]]
    outputs: Sequence[PastOutput]
    inputs: Mapping[UUID, Mapping[str, Any]]
    tokens: Sequence[PastToken]
    answered: Collection[UUID]
    now: datetime


@dataclass(frozen=True, slots=True)
class Takeover:
    """The activations that the new run begins with, and the tokens in order of arrival."""

    activations: list[Past]
    tokens: list[PastToken]


def split_sources(plan: Plan) -> list[UUID]:
    """The nodes with links that carry a part of an output: what they carry depends on the value."""
    return list(
        {
            node.id
            for node in plan.nodes.values()
            for links in node.outgoing.values()
            for link in links
            if pins.is_tool_pin(link.source_name) or pins.base_name(link.source_name) != link.source_name
        }
    )


def shared_pins(plan: Plan) -> dict[tuple[UUID, str], set[UUID]]:
    """The pins, by node, into which several nodes' links lead, none static, with the nodes that these come from."""
    sources: dict[tuple[UUID, str], set[UUID]] = defaultdict(set)
    for node in plan.nodes.values():
        for links in node.outgoing.values():
            for link in links:
                if link.sink_name not in link.sink.static:
                    sources[link.sink.id, link.sink_name].add(node.id)
    return {pin: nodes for pin, nodes in sources.items() if len(nodes) > 1}


def downstream(plan: Plan, node_id: UUID) -> set[UUID]:
    """A node and all that can be reached from it."""
    found = {node_id}
    ahead = [node_id]
    while ahead:
        for links in plan.nodes[ahead.pop()].outgoing.values():
            fresh = {link.sink.id for link in links} - found
            found |= fresh
            ahead += fresh
    return found


def take_over_for_retry(plan: Plan, remains: Remains) -> Takeover:
    """Everything that succeeded. What failed or was under way is opened again, what followed from an error is left."""
    arrivals = _Arrivals(plan, remains)
    failed = [past for past in remains.activations if past.status is NodeStatus.FAILED]
    errors = {(past.id, past.output_count - 1) for past in failed}
    dropped, void = arrivals.followers_of(errors)
    kept = [past for past in remains.activations if past.id not in dropped]
    tokens = dict.fromkeys([*arrivals.consumed_only_by(dropped), *remains.tokens])
    return Takeover(
        [_taken(past, remains, reopen_failed=True) for past in kept],
        [token for token in tokens if (token.source_id, token.ordinal) not in void],
    )


def take_over_for_replay(plan: Plan, remains: Remains, node_id: UUID) -> Takeover:
    """Everything but the node and what can be reached from it: all values that go there wait on their pins again."""
    anew = downstream(plan, node_id)
    kept = [past for past in remains.activations if past.node_id not in anew]
    kept_ids = {past.id for past in kept}
    waiting = [token for token in remains.tokens if plan.links[token.link_id].sink.id not in anew]
    entering = [
        token for token, link in _Arrivals(plan, remains).all if link.sink.id in anew and token.source_id in kept_ids
    ]
    return Takeover([_taken(past, remains, reopen_failed=False) for past in kept], [*waiting, *entering])


def _taken(past: Past, remains: Remains, *, reopen_failed: bool) -> Past:
    if past.status is NodeStatus.COMPLETED or (past.status is NodeStatus.FAILED and not reopen_failed):
        return past
    has_failed = past.status is NodeStatus.FAILED
    waits = _answered(past.waits, remains.answered)
    # The last output of a failed activation is the one on its error pin.
    outputs = past.output_count - has_failed
    attempt = past.attempt
    if has_failed or not waits or len(waits) < len(past.waits):
        given = waits[-1]["outputs"] if waits else 0
        waits = [*waits, {"until": remains.now.isoformat(), "retry": "Run again in a new run", "outputs": given}]
        attempt = 0
    return replace(
        past,
        status=NodeStatus.WAITING,
        attempt=attempt,
        output_count=outputs,
        handed_on=min(past.handed_on, outputs),
        waits=waits,
        reopened=True,
    )


def _answered(waits: list[dict[str, Any]], answered: Collection[UUID]) -> list[dict[str, Any]]:
    """The waits up to the last one that has, or will have, an answer: what has none is asked anew."""
    end = len(waits)
    while end and (question := question_of(waits[end - 1])) is not None and UUID(question) not in answered:
        end -= 1
    return waits[:end]


class _Arrivals:
    """Which values arrived on which pins in which order, and who consumed them."""

    def __init__(self, plan: Plan, remains: Remains) -> None:
        self._plan = plan
        self._past = {past.id: past for past in remains.activations}
        self._of_node: dict[UUID, list[Past]] = defaultdict(list)
        for past in sorted(remains.activations, key=lambda past: past.ordinal):
            self._of_node[past.node_id].append(past)
        self._inputs = remains.inputs
        self._shared = shared_pins(plan)
        self._parts: dict[PastToken, Any] = {}
        self._stages = dict(_stages_of_handing_on(self._of_node.values(), remains.told))
        self.all = [
            (PastToken(output.source_id, output.ordinal, link.id), link)
            for output in sorted(remains.outputs, key=self._order)
            for link in self._links_of(output)
        ]

    def _order(self, output: PastOutput) -> tuple[int, UUID, int, int]:
        past = self._past[output.source_id]
        return self._handed_on(past.id, output.ordinal), past.node_id, past.ordinal, output.ordinal

    def _handed_on(self, source_id: UUID, ordinal: int) -> int:
        """The number of the event by which this output was through."""
        counts, events = self._stages[source_id]
        return events[bisect_right(counts, ordinal)]

    def _links_of(self, output: PastOutput) -> Iterator[PlanLink]:
        source = self._plan.nodes[self._past[output.source_id].node_id]
        for link in source.links_from(output.pin):
            sink = (str(link.sink.id), link.sink_name)
            part = pins.split(output.value, output.pin, link.source_name, sink)
            if part is not pins.MISSING:
                if (link.sink.id, link.sink_name) in self._shared:
                    self._parts[PastToken(output.source_id, output.ordinal, link.id)] = part
                yield link

    def followers_of(self, outputs: Iterable[OutputKey]) -> tuple[set[UUID], set[OutputKey]]:
        """The activations that consumed these outputs, or what came of them, and all outputs that are void by it."""
        consumers: dict[OutputKey, set[UUID]] = defaultdict(set)
        for token, activations in self._consumers.items():
            consumers[token.source_id, token.ordinal] |= activations
        dropped: set[UUID] = set()
        void = set(outputs)
        ahead = list(void)
        while ahead:
            for consumer in consumers[ahead.pop()] - dropped:
                dropped.add(consumer)
                given = {(consumer, ordinal) for ordinal in range(self._past[consumer].output_count)} - void
                void |= given
                ahead += given
        return dropped, void

    def consumed_only_by(self, activations: set[UUID]) -> list[PastToken]:
        """The values that wait again when these activations have not been, in order of arrival."""
        return [token for token, _ in self.all if token in self._consumers and self._consumers[token] <= activations]

    @cached_property
    def _consumers(self) -> dict[PastToken, set[UUID]]:
        """Let the values arrive once more, to see which activations had them; a static one may serve several."""
        found: dict[PastToken, set[UUID]] = defaultdict(set)
        for node_id, arrived in self._by_sink().items():
            inbox = Inbox(self._plan.nodes[node_id])
            fired = [inbox.activate({}, [])] if inbox.node.is_start else []
            for token, link in arrived:
                fired += inbox.put(link.sink_name, token, Token(token.source_id, token.ordinal, link, 0))
            for activation, past in zip(fired, self._of_node[node_id], strict=False):
                for token in activation.values.values():
                    found[token].add(past.id)
        return found

    def _by_sink(self) -> dict[UUID, list[tuple[PastToken, PlanLink]]]:
        arrived: dict[UUID, list[tuple[PastToken, PlanLink]]] = defaultdict(list)
        for token, link in self.all:
            arrived[link.sink.id].append((token, link))
        for (node_id, pin), sources in self._shared.items():
            if node_id in arrived:
                self._put_right(arrived[node_id], node_id, pin, sources)
        return arrived

    def _put_right(
        self, arrived: list[tuple[PastToken, PlanLink]], node_id: UUID, pin: str, sources: Collection[UUID]
    ) -> None:
        """Several events may go with one commit, in an order of their own: what was consumed tells which came first."""
        places = [place for place, (_, link) in enumerate(arrived) if link.sink_name == pin]
        ahead = {source: deque[int]() for source in sources}
        for place in places:
            ahead[self._past[arrived[place][0].source_id].node_id].append(place)
        turns = iter(self._of_node[node_id][self._plan.nodes[node_id].is_start :])
        order = []
        for _ in places:
            heads = sorted(queue[0] for queue in ahead.values() if queue)
            past = next(turns, None)
            given = self._inputs.get(past.id, {}) if past else {}
            fitting = (head for head in heads if pin in given and self._parts[arrived[head][0]] == given[pin])
            head = next(fitting, heads[0])
            ahead[self._past[arrived[head][0].source_id].node_id].popleft()
            order.append(arrived[head])
        for place, each in zip(places, order, strict=True):
            arrived[place] = each


def _stages_of_handing_on(
    turns_of_nodes: Iterable[Sequence[Past]], told: Mapping[UUID, Sequence[tuple[int, int]]]
) -> Iterator[tuple[UUID, tuple[list[int], list[int]]]]:
    """By which events how many of each activation's outputs were through, all by the last.

    None was before those of its node's earlier activations.
    """
    for turns in turns_of_nodes:
        latest = 0
        for past in turns:
            counts = [count for count, _ in told.get(past.id, ())]
            events = [max(latest, event) for _, event in told.get(past.id, ())] or [latest]
            latest = events[-1]
            yield past.id, (counts[:-1], events)
