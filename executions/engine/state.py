"""What a run is about to do: values on pins, activations that are ready, outputs on their way. Pure.

The rules are those of docs/engine.md: values on different pins of a node pair up oldest first; a value on a static
link is kept for later activations; the outputs of a node's activations are handed on in the order in which the
activations began, however they finish.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core.ids import uuid7
from executions.engine.plan import Plan, PlanLink, PlanNode
from executions.engine.values import NO_INPUT, Stored, StoredInput, size_of_large
from executions.kinds import NodeStatus
from graphs import pins


@dataclass(eq=False, slots=True)
class Token:
    """A value waiting on a pin. `stored` tells whether its row exists, `spent` whether it was consumed."""

    source_id: UUID
    ordinal: int
    link: PlanLink
    position: int
    stored: bool = False
    spent: bool = False


@dataclass(eq=False, slots=True)
class Output:
    """One (pin, value) pair."""

    ordinal: int
    pin: str
    stored: Stored


@dataclass(eq=False, slots=True)
class Activation:
    """One turn of a node: the values it consumes, and what became of it so far.

    `values` has large values as `Large`, `input_data` as themselves. `held` are outputs not yet handed on; `skip`
    counts the outputs of an earlier attempt that are already stored. What prices are for is counted in `seconds`,
    `given_bytes` and `used_tokens`; `quantity` is what was due for in the end, if its price is for one of those or for
    outputs. `promised` are the micro-credits set aside for it.
    """

    node: PlanNode
    ordinal: int
    values: dict[str, Any]
    tokens: list[Token] = field(default_factory=list)
    id: UUID = field(default_factory=uuid7)
    status: NodeStatus = NodeStatus.RUNNING
    attempt: int = 1
    input_data: dict[str, Any] | None = None
    stored_input: StoredInput = NO_INPUT
    output_count: int = 0
    handed_on: int = 0
    held: deque[Output] = field(default_factory=deque)
    skip: int = 0
    waits: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stored: bool = False
    is_closed: bool = False
    seconds: float = 0.0
    given_bytes: int = 0
    used_tokens: int = 0
    quantity: float | None = None
    promised: int = 0


@dataclass(eq=False, slots=True)
class _Partial:
    """An activation in the making: the pins filled so far."""

    values: dict[str, Any] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    fired: bool = False


class Inbox:
    """One node's side of the state: its partial activations, oldest first, and what its static pins hold."""

    def __init__(self, node: PlanNode) -> None:
        self.node = node
        self.fired = 0
        self.kept: dict[str, Any] = {}
        self.lane: deque[Activation] = deque()
        self._partials: deque[_Partial] = deque()
        self._gone = 0
        self._cursors: dict[str, int] = {}

    def put(self, pin: str, value: Any, token: Token) -> list[Activation]:
        """Give `value` to the oldest partial activation that lacks `pin`; return the activations this completes."""
        partial = self._oldest_without(pin)
        partial.values[pin] = value
        partial.tokens.append(token)
        if not self._is_complete(partial):
            return []
        fired = [self._fire(partial)]
        if token.link.is_static:
            fired += [self._fire(other) for other in self._partials if self._is_complete(other)]
        while self._partials and self._partials[0].fired:
            self._partials.popleft()
            self._gone += 1
        return fired

    def _oldest_without(self, pin: str) -> _Partial:
        # Pins are never emptied, so everything before the cursor has this pin for good.
        cursor = max(self._cursors.get(pin, 0), self._gone)
        end = self._gone + len(self._partials)
        while cursor < end and pin in self._partials[cursor - self._gone].values:
            cursor += 1
        self._cursors[pin] = cursor
        if cursor == end:
            self._partials.append(_Partial())
        return self._partials[cursor - self._gone]

    def _is_complete(self, partial: _Partial) -> bool:
        """Whether every pin has a value, be it one that a static link left behind."""
        if partial.fired:
            return False
        missing = len(self.node.linked) - len(partial.values)
        return not missing or missing == sum(pin not in partial.values for pin in self.kept)

    def _fire(self, partial: _Partial) -> Activation:
        partial.fired = True
        # Kept values come in only now: until here a newer one could still arrive.
        values = {**self.kept, **partial.values}
        self.kept = {pin: values[pin] for pin in self.node.static}
        return self.activate(values, partial.tokens)

    def activate(self, values: dict[str, Any], tokens: list[Token]) -> Activation:
        """Make the node's next activation."""
        activation = Activation(self.node, self.fired, values, tokens)
        self.fired += 1
        return activation

    def missing(self) -> set[str]:
        """The pins that partial activations wait for."""
        waiting = (partial.values.keys() for partial in self._partials if not partial.fired)
        return {pin for filled in waiting for pin in self.node.linked - filled - self.kept.keys()}


class RunState:
    """The state of one run. Drivers change it through its methods only; it never looks at a clock or a row."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ready: deque[Activation] = deque()
        self.new_tokens: list[Token] = []
        self.spent_tokens: list[Token] = []
        # Of large values that activations hold which have not begun.
        self.ready_bytes = 0
        self._has_large = False
        self._inboxes = {node.id: Inbox(node) for node in plan.nodes.values()}
        self._position = 0

    def start(self) -> None:
        """Make the starting nodes ready, those excepted that already ran."""
        for node in self.plan.starts:
            inbox = self._inboxes[node.id]
            if inbox.fired == 0:
                self.ready.append(inbox.activate({}, []))

    def restore(self, fired: Mapping[UUID, int], kept: Mapping[UUID, Mapping[str, Any]]) -> None:
        """Take up where rows left off: how often each node fired, and what each last had on its static pins."""
        for node_id, count in fired.items():
            self._inboxes[node_id].fired = count
        for node_id, values in kept.items():
            inbox = self._inboxes[node_id]
            inbox.kept = {pin: values[pin] for pin in inbox.node.static if pin in values}

    def restore_open(self, activations: Iterable[Activation]) -> None:
        """Take up activations that began and whose outputs are not all handed on, in order of their ordinals."""
        for activation in activations:
            self._inboxes[activation.node.id].lane.append(activation)

    def restore_tokens(self, tokens: Iterable[tuple[Token, Output]]) -> None:
        """Put stored tokens back, in order of their positions; each with the output that it came from."""
        for token, output in tokens:
            self._position = max(self._position, token.position + 1)
            self._arrive(token, self._part(output, token.link))

    def begin(self, activation: Activation) -> None:
        """An activation is taken up: its tokens are consumed, its outputs queue behind its node's earlier ones."""
        for token in activation.tokens:
            token.spent = True
            if token.stored:
                self.spent_tokens.append(token)
        activation.tokens = []
        if self.ready_bytes:
            self.ready_bytes -= size_of_large(activation.values)
        self._inboxes[activation.node.id].lane.append(activation)

    def emit(self, activation: Activation, output: Output) -> None:
        """An activation gave an output: hand it on, or keep it until the node's earlier activations are through."""
        activation.output_count += 1
        activation.held.append(output)
        if self._inboxes[activation.node.id].lane[0] is activation:
            self._hand_on(activation)

    def close(self, activation: Activation) -> list[Activation]:
        """An activation gives no more outputs; returns the later ones of its node that now handed theirs on."""
        activation.is_closed = True
        return self.advance(activation.node)

    def advance(self, node: PlanNode) -> list[Activation]:
        """Hand on what the node's foremost activations hold; returns those that handed something on."""
        lane = self._inboxes[node.id].lane
        moved = []
        while lane:
            head = lane[0]
            if head.held:
                self._hand_on(head)
                moved.append(head)
            if not head.is_closed:
                break
            lane.popleft()
        return moved

    def stalled(self) -> dict[UUID, set[str]]:
        """The nodes that hold values but did not fire with them, and the pins that stayed empty."""
        waiting = {node_id: inbox.missing() for node_id, inbox in self._inboxes.items()}
        return {node_id: missing for node_id, missing in waiting.items() if missing}

    def busiest(self) -> tuple[PlanNode, int]:
        """The node with the most activations so far, and how many."""
        inbox = max(self._inboxes.values(), key=lambda inbox: inbox.fired)
        return inbox.node, inbox.fired

    def _hand_on(self, activation: Activation) -> None:
        while activation.held:
            output = activation.held.popleft()
            activation.handed_on += 1
            for link in activation.node.links_from(output.pin):
                part = self._part(output, link)
                if part is not pins.MISSING:
                    token = Token(activation.id, output.ordinal, link, self._position)
                    self._position += 1
                    self.new_tokens.append(token)
                    self._arrive(token, part)

    def _part(self, output: Output, link: PlanLink) -> Any:
        stored, pin = output.stored, output.pin
        if link.source_name == pin and not pins.is_tool_pin(pin):
            # What carries a large value whole need not store it again.
            if stored.large is None:
                return stored.value
            self._has_large = True
            return stored.large
        return pins.split(stored.value, pin, link.source_name, (str(link.sink.id), link.sink_name))

    def _arrive(self, token: Token, value: Any) -> None:
        fired = self._inboxes[token.link.sink.id].put(token.link.sink_name, value, token)
        self.ready.extend(fired)
        if self._has_large:
            self.ready_bytes += sum(size_of_large(activation.values) for activation in fired)
