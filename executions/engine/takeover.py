"""What a new run takes over from one that has ended: activations, and values that wait on pins. Pure.

Per pin the n-th activation of a node consumed the n-th value that arrived, for values pair up oldest first; only what a
static link left behind serves several. So the rows alone tell who consumed what.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from executions.engine.plan import Plan, PlanLink, PlanNode
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
    started_at: datetime
    ended_at: datetime | None
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class PastOutput:
    """An output that was handed on. Its value is needed only where a link takes a part of it."""

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
class Moment:
    """When something happened: the number of the event that told of it, and the time by the database's clock."""

    seq: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Remains:
    """What the ended run left: `tokens` in order of their positions, and the ids of what it asked and has an answer.

    A run that was called has one if it COMPLETED, a person if they decided; but not if they kept a block from running.
    `told` has the events of each activation, in order: how many outputs it had given by then.
    """

    activations: Sequence[Past]
    told: Mapping[UUID, Sequence[tuple[int, Moment]]]
    outputs: Sequence[PastOutput]
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
    # What a static link left behind still waits, whoever consumed it.
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
        self._stages = dict(_stages_of_handing_on(self._of_node.values(), remains))
        self.all = [
            (PastToken(output.source_id, output.ordinal, link.id), link)
            for output in sorted(remains.outputs, key=self._order)
            for link in self._links_of(output)
        ]

    def _order(self, output: PastOutput) -> tuple[int, UUID, int, int]:
        past = self._past[output.source_id]
        return self._handed_on(past.id, output.ordinal).seq, past.node_id, past.ordinal, output.ordinal

    def _handed_on(self, source_id: UUID, ordinal: int) -> Moment:
        """When this output was through."""
        counts, moments = self._stages[source_id]
        return moments[bisect_right(counts, ordinal)]

    def _links_of(self, output: PastOutput) -> Iterator[PlanLink]:
        source = self._plan.nodes[self._past[output.source_id].node_id]
        for link in source.links_from(output.pin):
            sink = (str(link.sink.id), link.sink_name)
            if pins.split(output.value, output.pin, link.source_name, sink) is not pins.MISSING:
                yield link

    def followers_of(self, outputs: Iterable[OutputKey]) -> tuple[set[UUID], set[OutputKey]]:
        """The activations that consumed these outputs, or what came of them, and all outputs that are void by it."""
        consumers = self._consumers()
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

    def consumed_only_by(self, activations: Collection[UUID]) -> list[PastToken]:
        """The values that wait again when these activations have not been, in order of arrival."""
        returned = set()
        for node, pin, tokens in self._pins():
            turns = self._of_node[node.id]
            if pin in node.static:
                if turns and all(past.id in activations for past in turns):
                    returned |= set(tokens)
            else:
                returned |= {token for token, past in zip(tokens, turns, strict=False) if past.id in activations}
        return [token for token, _ in self.all if token in returned]

    def _consumers(self) -> dict[OutputKey, set[UUID]]:
        found: dict[OutputKey, set[UUID]] = defaultdict(set)
        for node, pin, tokens in self._pins():
            turns = self._of_node[node.id]
            served = self._served(tokens, turns) if pin in node.static else zip(tokens, turns, strict=False)
            for token, past in served:
                found[token.source_id, token.ordinal].add(past.id)
        return found

    def _served(self, tokens: Sequence[PastToken], turns: Iterable[Past]) -> Iterator[tuple[PastToken, Past]]:
        """Each turn with the static value it saw: the newest by then, or the one it waited for."""
        for past in turns:
            there = [each for each in tokens if self._handed_on(each.source_id, each.ordinal).at <= past.started_at]
            if tokens:
                yield (there or tokens[:1])[-1], past

    def _pins(self) -> Iterator[tuple[PlanNode, str, list[PastToken]]]:
        arrived: dict[tuple[UUID, str], list[PastToken]] = defaultdict(list)
        for token, link in self.all:
            arrived[link.sink.id, link.sink_name].append(token)
        for (node_id, pin), tokens in arrived.items():
            yield self._plan.nodes[node_id], pin, tokens


def _stages_of_handing_on(
    turns_of_nodes: Iterable[Sequence[Past]], remains: Remains
) -> Iterator[tuple[UUID, tuple[list[int], list[Moment]]]]:
    """When how many of each activation's outputs were through, all at the last of the moments.

    None was before those of its node's earlier activations.
    """
    for turns in turns_of_nodes:
        earlier: Moment | None = None
        for past in turns:
            told = remains.told.get(past.id, ())
            stages = [(count, _later(earlier, moment)) for count, moment in told[:-1]]
            end = Moment(told[-1][1].seq if told else 0, past.ended_at or remains.now)
            earlier = _later(earlier, end)
            yield past.id, ([count for count, _ in stages], [*(moment for _, moment in stages), earlier])


def _later(one: Moment | None, other: Moment) -> Moment:
    return other if one is None else Moment(max(one.seq, other.seq), max(one.at, other.at))
