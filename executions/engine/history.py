"""Building a run's state again from what it left in rows. Pure."""

from collections.abc import Mapping
from typing import Any

from executions.engine.plan import Plan
from executions.engine.rows import History
from executions.engine.state import Activation, Output, RunState, Token
from executions.engine.values import Large, plain, recall, recall_input
from executions.engine.waits import recall_use
from executions.kinds import NodeStatus


def restore(state: RunState, history: History) -> list[Activation]:
    """Fill a new `state` from a run's rows; returns the activations that began and have not ended."""
    blobs = history.blobs
    kept = {row["node_id"]: recall_input(row["input_data"], row["input_blobs"], blobs) for row in history.kept}
    state.restore(history.fired, kept)
    activations = {row["id"]: _activation(state.plan, row, blobs) for row in history.open}
    for row in history.held:
        activations[row["node_execution_id"]].held.append(_output(row, blobs))
    state.restore_open(activations.values())
    state.start()
    state.restore_tokens((_token(state.plan, row), _output(row, blobs)) for row in history.tokens)
    return [activation for activation in activations.values() if not activation.is_closed]


def _activation(plan: Plan, row: dict[str, Any], blobs: Mapping[str, Large]) -> Activation:
    status = NodeStatus(row["status"])
    activation = Activation(
        node=plan.nodes[row["node_id"]],
        ordinal=row["ordinal"],
        values={},
        id=row["id"],
        status=status,
        attempt=row["attempt"],
        input_data=plain(recall_input(row["input_data"], row["input_blobs"], blobs)),
        output_count=row["output_count"],
        handed_on=row["handed_on"],
        waits=row["waits"],
        error=row["error"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        stored=True,
        is_closed=row["ended_at"] is not None,
    )
    recall_use(activation)
    return activation


def _output(row: dict[str, Any], blobs: Mapping[str, Large]) -> Output:
    return Output(row["ordinal"], row["pin"], recall(row["value"], row["blob"], blobs))


def _token(plan: Plan, row: dict[str, Any]) -> Token:
    return Token(row["source_id"], row["ordinal"], plan.links[row["link_id"]], row["position"], stored=True)
