"""What a driver has decided and not yet committed. Pure: a batch is filled by the driver and written by the store."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core import json
from executions.engine.state import Activation, Output, Token
from executions.kinds import EventKind, NodeStatus, Status

_EVENT_OF = {
    NodeStatus.RUNNING: EventKind.NODE_STARTED,
    NodeStatus.WAITING: EventKind.NODE_WAITING,
    NodeStatus.COMPLETED: EventKind.NODE_COMPLETED,
    NodeStatus.FAILED: EventKind.NODE_FAILED,
    NodeStatus.TERMINATED: EventKind.NODE_TERMINATED,
}


@dataclass(slots=True)
class EventRow:
    """An event that gets its number when it is committed."""

    kind: EventKind
    node_execution_id: UUID | None = None
    outputs: int = 0


@dataclass(slots=True)
class Batch:
    """The rows of one commit. `status` is what becomes of the run: RUNNING to go on, WAITING to park, or final."""

    nodes: dict[UUID, Activation] = field(default_factory=dict)
    outputs: list[tuple[Activation, Output]] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    spent: list[Token] = field(default_factory=list)
    status: Status = Status.RUNNING
    wake_at: datetime | None = None
    error_code: str = ""
    error: str = ""
    node_count: int = 0
    node_error_count: int = 0
    node_seconds: float = 0.0

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

    def end(self, status: Status, error_code: str = "", error: str = "") -> None:
        """The run has ended."""
        self.status, self.error_code, self.error = status, error_code, error
        self.events.append(EventRow(EventKind[f"RUN_{status}"]))

    def arguments(self) -> dict[str, Any]:
        """The batch as the columns that the store's one statement unnests."""
        nodes = list(self.nodes.values())
        tokens = [token for token in self.tokens if not token.spent]
        return {
            "events": len(self.events),
            "event_kinds": [event.kind.value for event in self.events],
            "event_nodes": [event.node_execution_id for event in self.events],
            "event_outputs": [event.outputs for event in self.events],
            "ids": [node.id for node in nodes],
            "node_ids": [node.node.id for node in nodes],
            "block_ids": [node.node.block.id for node in nodes],
            "ordinals": [node.ordinal for node in nodes],
            "statuses": [node.status.value for node in nodes],
            "attempts": [node.attempt for node in nodes],
            "inputs": ["{}" if node.stored else _text(node.input_data) for node in nodes],
            "output_counts": [node.output_count for node in nodes],
            "handed_on": [node.handed_on for node in nodes],
            "waits": [_text(node.waits) if node.waits else "[]" for node in nodes],
            "errors": [node.error for node in nodes],
            "started": [node.started_at for node in nodes],
            "ended": [node.ended_at for node in nodes],
            "output_nodes": [activation.id for activation, _ in self.outputs],
            "output_ordinals": [output.ordinal for _, output in self.outputs],
            "output_pins": [output.pin for _, output in self.outputs],
            "output_values": [output.encoded.decode() for _, output in self.outputs],
            "token_sources": [token.source_id for token in tokens],
            "token_ordinals": [token.ordinal for token in tokens],
            "token_links": [token.link.id for token in tokens],
            "token_positions": [token.position for token in tokens],
            "spent_sources": [token.source_id for token in self.spent],
            "spent_ordinals": [token.ordinal for token in self.spent],
            "spent_links": [token.link.id for token in self.spent],
            "status": self.status.value,
            "wake_at": self.wake_at,
            "error_code": self.error_code,
            "error": self.error,
            "node_count": self.node_count,
            "node_error_count": self.node_error_count,
            "node_seconds": self.node_seconds,
        }

    def mark_stored(self) -> None:
        """The batch was committed: its rows exist now."""
        for node in self.nodes.values():
            node.stored = True
        for token in self.tokens:
            token.stored = not token.spent


def _text(value: Any) -> str:
    return json.encode(value).decode()
