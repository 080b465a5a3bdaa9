"""All rows of a run, each kind read once, when it is first asked for."""

from functools import cached_property
from typing import Any
from uuid import UUID

from core.errors import DomainError
from executions import blobs
from executions.engine.plan import Plan, compile_plan
from executions.kinds import Status
from executions.models import Event, GraphExecution, NodeExecution, NodeOutput, NodeTask, Token
from graphs import pins
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition
from graphs.services import load_definition

# A value on a pin: the activation that gave it, the number of the output, the link.
Arrival = tuple[UUID, int, UUID]


class Rows:
    """What the checks look at."""

    def __init__(self, run: GraphExecution) -> None:
        self.run = run
        self.is_completed = run.status == Status.COMPLETED

    @cached_property
    def nodes(self) -> list[NodeExecution]:
        """The activations, in order."""
        return list(NodeExecution.objects.filter(run=self.run.pk).order_by("node_id", "ordinal"))

    @cached_property
    def outputs(self) -> dict[UUID, list[NodeOutput]]:
        """What each activation gave, in order."""
        found: dict[UUID, list[NodeOutput]] = {}
        for output in NodeOutput.objects.filter(run=self.run.pk).order_by("node_execution_id", "ordinal"):
            found.setdefault(output.node_execution_id, []).append(output)
        return found

    @cached_property
    def events(self) -> list[Event]:
        """What was told, in order."""
        return list(Event.objects.filter(run=self.run.pk).order_by("seq"))

    @cached_property
    def events_of(self) -> dict[UUID, list[Event]]:
        """What was told of each activation."""
        told: dict[UUID, list[Event]] = {}
        for event in self.events:
            if event.node_execution_id is not None:
                told.setdefault(event.node_execution_id, []).append(event)
        return told

    @cached_property
    def tasks(self) -> list[NodeTask]:
        """The turns in processes of their own that are not forgotten yet."""
        return list(NodeTask.objects.filter(run=self.run.pk).order_by("node_execution_id", "turn"))

    @cached_property
    def definition(self) -> GraphDefinition:
        """The graph that was run."""
        return load_definition(self.run.graph_id, self.run.graph_version)

    @cached_property
    def plan(self) -> Plan | None:
        """What the engine made of the graph; None if a block is gone, and nobody can tell what went where."""
        try:
            return compile_plan(self.definition, BLOCKS.get)
        except DomainError:
            return None

    @cached_property
    def large(self) -> dict[str, Any]:
        """The large values that were given, by their hashes."""
        given = (output.blob for outputs in self.outputs.values() for output in outputs)
        return blobs.values_of(self.run.user_id, given)

    def value_of(self, output: NodeOutput) -> Any:
        """What was given, whatever its size."""
        return self.large.get(output.blob, output.value) if output.blob else output.value

    @cached_property
    def came(self) -> set[Arrival]:
        """Every value that reached a pin, by the graph."""
        assert self.plan is not None
        return {
            (node.pk, output.ordinal, link.id)
            for node in self.nodes
            for output in self.outputs.get(node.pk, [])
            if output.ordinal < node.handed_on
            for link in self.plan.nodes[node.node_id].links_from(output.pin)
            if pins.split(self.value_of(output), output.pin, link.source_name, (str(link.sink.id), link.sink_name))
            is not pins.MISSING
        }

    @cached_property
    def waiting(self) -> set[Arrival]:
        """The values that wait on pins, by the rows."""
        tokens = Token.objects.filter(run=self.run.pk)
        return {(token.source_id, token.ordinal, token.link_id) for token in tokens}
