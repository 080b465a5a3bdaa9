"""Who is told that a run changed. The events themselves are rows; see `executions.models.Event`."""

from typing import Any
from uuid import UUID


def run_group(run_id: UUID | str) -> str:
    """The channel-layer group of those who watch one run."""
    return f"run.{run_id}"


def graph_group(user_id: UUID | str, graph_id: UUID | str) -> str:
    """The channel-layer group of those who watch all of a user's runs of one graph."""
    return f"graph.{user_id}.{graph_id}"


def changed(run_id: UUID | str, head_seq: int) -> dict[str, Any]:
    """The hint that a run has events up to `head_seq`."""
    return {"type": "run.changed", "run_id": str(run_id), "head": head_seq}
