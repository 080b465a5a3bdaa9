"""A run as a table that changes while it runs: one row per node."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_STYLES = {
    "QUEUED": "cyan",
    "RUNNING": "bold yellow",
    "REVIEW": "magenta",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "TERMINATED": "red",
}
_WIDEST_VALUE = 60


@dataclass
class NodeRow:
    """What is known of one node: its executions by id, how long each took, and the last value on each of its pins."""

    title: str
    executions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The most telling status of its executions: one that runs or failed outweighs those that completed."""
        for status in ("RUNNING", "FAILED", "REVIEW", "QUEUED", "TERMINATED", "COMPLETED"):
            if status in self.executions.values():
                return status
        return "INCOMPLETE"


class RunView:
    """The nodes of one graph, in the order they were drawn, fed with the events of one run."""

    def __init__(self, graph: dict[str, Any], block_names: dict[str, str]) -> None:
        self.status = "QUEUED"
        self._title = str(graph["name"])
        self._rows = {node["id"]: NodeRow(_title(node, block_names)) for node in graph["nodes"]}

    def apply(self, event: dict[str, Any]) -> None:
        """Take in an event of the WebSocket; the same one twice changes nothing."""
        if "node_id" not in event:
            self.status = event["status"]
            return
        row = self.row_of(event)
        row.executions[event["node_exec_id"]] = event["status"]
        row.seconds[event["node_exec_id"]] = seconds_of(event)
        for pin, values in (event.get("output_data") or {}).items():
            if values:
                row.outputs[pin] = values[-1]

    def row_of(self, event: dict[str, Any]) -> NodeRow:
        """The row of the node that an event is about."""
        return self._rows.setdefault(event["node_id"], NodeRow(f"node of a called graph {event['node_id'][:8]}"))

    def __rich__(self) -> RenderableType:
        table = Table(title=Text(f"{self._title}: {self.status}", style=_STYLES.get(self.status, "")), expand=False)
        for name in ("node", "status"):
            table.add_column(name, no_wrap=True)
        for name in ("times", "seconds"):
            table.add_column(name, no_wrap=True, justify="right")
        # The only column that gives way on a narrow terminal; its texts are cut instead of wrapped.
        table.add_column("last output", max_width=_WIDEST_VALUE)
        for row in self._rows.values():
            status = Text(row.status, style=_STYLES.get(row.status, "dim"))
            seconds = f"{sum(row.seconds.values()):.3f}"
            outputs = Text(shown_outputs(row.outputs), no_wrap=True, overflow="ellipsis")
            table.add_row(Text(row.title), status, str(len(row.executions)), seconds, outputs)
        return table


def seconds_of(event: dict[str, Any]) -> float:
    """How long the activation has taken by this event."""
    start, end = event.get("start_time"), event.get("end_time") or event.get("at")
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else 0.0


def shown_outputs(outputs: dict[str, Any]) -> str:
    """The last value on each pin, in few characters."""
    return "  ".join(f"{pin}={value!r}" for pin, value in outputs.items())[: 2 * _WIDEST_VALUE]


def _title(node: dict[str, Any], block_names: dict[str, str]) -> str:
    block = block_names.get(node["block_id"], node["block_id"]).removesuffix("Block")
    name = (node.get("metadata") or {}).get("customized_name") or (node.get("input_default") or {}).get("name")
    return f"{name} ({block})" if name else block
