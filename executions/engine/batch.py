"""What a driver has decided and not yet committed. Pure: a batch is filled by the driver and written by the store."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from executions.engine.meter import Charge
from executions.engine.state import Activation, Output, Token
from executions.kinds import EventKind, NodeStatus, Status

_EVENT_OF = {
    NodeStatus.RUNNING: EventKind.NODE_STARTED,
    NodeStatus.WAITING: EventKind.NODE_WAITING,
    NodeStatus.REVIEW: EventKind.NODE_REVIEW,
    NodeStatus.COMPLETED: EventKind.NODE_COMPLETED,
    NodeStatus.FAILED: EventKind.NODE_FAILED,
    NodeStatus.TERMINATED: EventKind.NODE_TERMINATED,
}
# How a batch says that nobody drives the run any more.
_LAST_EVENTS = (EventKind.RUN_REVIEW, EventKind.RUN_COMPLETED)


@dataclass(slots=True)
class EventRow:
    """An event that gets its number when it is committed."""

    kind: EventKind
    node_execution_id: UUID | None = None
    outputs: int = 0


@dataclass(slots=True)
class Batch:
    """The rows of one commit. `status` is what becomes of the run: RUNNING to go on, WAITING to park, or final.

    `blobs` are the large values that the rows name, by hash; `size` is how many bytes of values the batch holds. A run
    that parks for want of credits is woken when its user has `needs_credits`; `releases` says that what it holds goes
    back, `is_over_debt` that something is not charged, as the user would owe more than can be counted.
    """

    nodes: dict[UUID, Activation] = field(default_factory=dict)
    outputs: list[tuple[Activation, Output]] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    spent: list[Token] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    status: Status = Status.RUNNING
    wake_at: datetime | None = None
    error_code: str = ""
    error: str = ""
    stalled: list[dict[str, Any]] = field(default_factory=list)
    node_count: int = 0
    node_error_count: int = 0
    node_seconds: float = 0.0
    output_count: int = 0
    needs_credits: int | None = None
    releases: bool = False
    is_over_debt: bool = False

    def __len__(self) -> int:
        return len(self.nodes) + len(self.outputs) + len(self.events)

    def note(self, activation: Activation) -> None:
        """The activation's row has changed."""
        self.nodes[activation.id] = activation

    def tell(self, activation: Activation) -> None:
        """The activation's row has changed, and whoever watches shall see it."""
        self.nodes[activation.id] = activation
        self.events.append(EventRow(_EVENT_OF[activation.status], activation.id, activation.output_count))

    def add_output(self, activation: Activation, output: Output) -> None:
        """The activation gave an output."""
        self.nodes[activation.id] = activation
        self.outputs.append((activation, output))
        self.output_count += 1

    def tell_output(self, activation: Activation) -> None:
        """Whoever watches shall see the outputs given so far, although more may come."""
        self.events.append(EventRow(EventKind.NODE_OUTPUT, activation.id, activation.output_count))

    def finish(self, activation: Activation) -> None:
        """The activation has ended; it counts."""
        self.tell(activation)
        self.node_count += 1
        self.node_error_count += activation.status is NodeStatus.FAILED
        if activation.started_at and activation.ended_at:
            self.node_seconds += (activation.ended_at - activation.started_at).total_seconds()

    def park(self, status: Status, wake_at: datetime | None) -> None:
        """Nobody needs to drive the run until `wake_at`, or until something happens outside of it."""
        self.status, self.wake_at = status, wake_at
        if status is Status.REVIEW:
            self.events.append(EventRow(EventKind.RUN_REVIEW))

    def end(self, status: Status, error_code: str = "", error: str = "") -> None:
        """The run has ended."""
        self.status, self.error_code, self.error = status, error_code, error
        self.events.append(EventRow(EventKind[f"RUN_{status}"]))

    def forgo(self) -> None:
        """Charge less: only what was promised before it was used, or else nothing.

        The run is not over with that, nor parked, unless it fails or was stopped: it is to be ended for it.
        """
        promised = [charge for charge in self.charges if charge.metadata.get("per") == "run"]
        self.charges = promised if len(promised) < len(self.charges) else []
        self.is_over_debt = True
        if self.status not in (Status.FAILED, Status.TERMINATED):
            self.events = [event for event in self.events if event.kind not in _LAST_EVENTS]
            self.status, self.wake_at, self.needs_credits, self.releases = Status.RUNNING, None, None, False

    def document(self) -> bytes:
        """The rows as one JSON document, which the store's one statement takes apart again."""
        charges = {"charges": [_charge_row(charge) for charge in self.charges]} if self.charges else {}
        return orjson.dumps(
            {
                **charges,
                "nodes": [_node_row(node) for node in self.nodes.values()],
                "outputs": [_output_row(activation, output) for activation, output in self.outputs],
                "tokens": [
                    {**_token_key(token), "position": token.position} for token in self.tokens if not token.spent
                ],
                "spent": [_token_key(token) for token in self.spent],
                "events": [
                    {"kind": event.kind, "node": event.node_execution_id, "outputs": event.outputs}
                    for event in self.events
                ],
            }
        )

    def mark_stored(self) -> None:
        """The batch was committed: its rows exist now."""
        for node in self.nodes.values():
            node.stored = True
        for token in self.tokens:
            token.stored = not token.spent


def _node_row(node: Activation) -> dict[str, Any]:
    return {
        **({} if node.quantity is None else {"quantity": node.quantity}),
        "id": node.id,
        "node_id": node.node.id,
        "block_id": node.node.block.id,
        "ordinal": node.ordinal,
        "status": node.status,
        "attempt": node.attempt,
        # Written when the row is inserted and never again.
        "input": {} if node.stored else orjson.Fragment(node.stored_input.encoded),
        "blobs": node.stored_input.references,
        "output_count": node.output_count,
        "handed_on": node.handed_on,
        "waits": node.waits,
        "error": node.error,
        "started_at": node.started_at,
        "ended_at": node.ended_at,
    }


def _charge_row(charge: Charge) -> dict[str, Any]:
    return {"key": charge.key, "amount": charge.amount, "reason": charge.reason, "metadata": charge.metadata}


def _output_row(activation: Activation, output: Output) -> dict[str, Any]:
    large = output.stored.large
    return {
        "node": activation.id,
        "ordinal": output.ordinal,
        "pin": output.pin,
        "value": orjson.Fragment(output.stored.in_row),
        "blob": large and large.hash,
    }


def _token_key(token: Token) -> dict[str, Any]:
    return {"source": token.source_id, "ordinal": token.ordinal, "link": token.link.id}
