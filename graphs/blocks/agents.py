"""Running one graph inside another."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from graphs.blocks.base import (
    Block,
    BlockError,
    CallGraph,
    Category,
    ChildResult,
    Context,
    Effect,
    Emissions,
    Example,
    Kind,
)
from graphs.blocks.fields import pin

_CHILD = UUID("0198c0de-0000-7000-8000-000000000001")


class AgentExecutorBlock(Block):
    """Runs another graph as a child run."""

    id = "e189baac-8c20-45a1-94a7-55177ea42565"
    description = (
        "Runs another graph and emits its outputs by their names, in their order. A graph that fails or is stopped "
        "is an error here."
    )
    categories = frozenset({Category.AGENT})
    kind = Kind.AGENT
    # Nothing happens here: the engine starts the child when it records what was yielded.
    effect = Effect.PURE
    examples = (
        Example(
            {
                "graph_id": "0198c0de-0000-7000-8000-000000000002",
                "graph_version": 1,
                "input_schema": {"properties": {"who": {}, "mark": {}}},
                "output_schema": {"properties": {"shout": {}}},
                "inputs": {"who": "nobody", "mark": "!"},
                "who": "World",
            },
            (("shout", "WORLD!"),),
            answers=(ChildResult(_CHILD, "COMPLETED", (("shout", "WORLD!"),)),),
        ),
    )

    class Input(BaseModel):
        """Which graph, and its inputs: in `inputs`, or on pins of their own that the stored schema names."""

        model_config = ConfigDict(extra="allow")

        user_id: str = pin("Ignored: the child runs for whoever runs this graph.", default="", hidden=True)
        graph_id: UUID = pin("The graph to run.")
        graph_version: int = pin("Its version.", ge=1)
        agent_name: str | None = pin("What the editor calls it.", default=None)
        inputs: dict[str, Any] = pin("The graph's inputs by name.", default={})
        input_schema: dict[str, Any] = pin("The graph's inputs when this node was placed.")
        output_schema: dict[str, Any] = pin("The graph's outputs when this node was placed.")
        nodes_input_masks: dict[str, dict[str, Any]] | None = pin(
            "Values for single nodes of the graph.", default=None, hidden=True
        )

    class Output(BaseModel):
        """The outputs of the graph, whatever they are called."""

        model_config = ConfigDict(extra="allow")

    def run(self, input: Input, context: Context) -> Emissions:
        """Ask for the child run; once it has ended, emit its outputs.

        Raises `BlockError`, naming the child run, when it ended in another way than COMPLETED.
        """
        if not context.answers:
            arrived = input.model_extra or {}
            given = {name: arrived[name] for name in _pins(input.input_schema) if name in arrived}
            yield CallGraph(
                graph_id=input.graph_id,
                graph_version=input.graph_version,
                inputs={**input.inputs, **given},
                nodes_input_masks=input.nodes_input_masks or {},
            )
            return
        child: ChildResult = context.answers[0]
        if child.status != "COMPLETED":
            reason = f": {child.error}" if child.error else ""
            raise BlockError(f"The run {child.run_id} of the graph {input.graph_id} ended as {child.status}{reason}")
        yield from child.outputs


def _pins(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    pins = schema.get("properties")
    return pins if isinstance(pins, dict) else {}
