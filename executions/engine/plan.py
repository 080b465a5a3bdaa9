"""A graph version made ready to run: nodes with their blocks, links where they start. Pure and shared by all runs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from graphs import pins
from graphs.blocks.base import Block, Effect, Kind
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from graphs.policy import NodePolicy, policy_of


@dataclass(eq=False, slots=True)
class PlanNode:
    """One node: what it runs, the pins that must be filled first, and the links that leave it.

    `runs_in_place` is true of a block that only computes: it needs no intent, thread or task of its own. `is_isolated`
    is true of one that runs in a process of its own. `has_dynamic_pins` tells whether values are parts of others.
    """

    id: UUID
    block: Block
    defaults: Mapping[str, Any]
    linked: frozenset[str]
    static: frozenset[str]
    is_start: bool
    runs_in_place: bool
    is_isolated: bool
    has_dynamic_pins: bool
    policy: NodePolicy
    outgoing: dict[str, list["PlanLink"]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that an input or output node gives its value."""
        return str(self.defaults.get("name", ""))

    def links_from(self, pin: str) -> list["PlanLink"]:
        """The links that start at `pin` or at a part of its value, in the order they were drawn."""
        return self.outgoing.get(_outlet(pin), [])


@dataclass(eq=False, slots=True)
class PlanLink:
    """A wire to `sink_name` of `sink`; `source_name` may name a part of the output pin's value."""

    id: UUID
    source_name: str
    sink: PlanNode
    sink_name: str
    is_static: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph version as the engine runs it."""

    graph_id: UUID
    version: int
    nodes: Mapping[UUID, PlanNode]
    links: Mapping[UUID, PlanLink]

    @property
    def starts(self) -> list[PlanNode]:
        """The nodes that run without waiting for a value."""
        return [node for node in self.nodes.values() if node.is_start]

    @property
    def output_nodes(self) -> list[UUID]:
        """The nodes whose inputs are the outputs of the run."""
        return [node.id for node in self.nodes.values() if node.block.kind is Kind.OUTPUT]

    @property
    def static_nodes(self) -> list[UUID]:
        """The nodes that keep a value on some pin."""
        return [node.id for node in self.nodes.values() if node.static]


def compile_plan(definition: GraphDefinition, block_of: Callable[[str], Block]) -> Plan:
    """Turn a graph version into a plan; `block_of` raises for a block id that this installation lacks."""
    blocks = {node.id: block_of(node.block_id) for node in definition.nodes}
    incoming: dict[UUID, list[LinkDefinition]] = {node.id: [] for node in definition.nodes}
    drawn = [
        replace(link, is_static=link.is_static or blocks[link.source_id].static_output) for link in definition.links
    ]
    for link in drawn:
        incoming[link.sink_id].append(link)
    nodes = {node.id: _plan_node(node, blocks[node.id], incoming[node.id]) for node in definition.nodes}
    links = {}
    for link in drawn:
        source = nodes[link.source_id]
        planned = PlanLink(
            id=link.id,
            source_name=link.source_name,
            sink=nodes[link.sink_id],
            sink_name=link.sink_name,
            is_static=link.is_static,
        )
        source.outgoing.setdefault(_outlet(link.source_name), []).append(planned)
        links[link.id] = planned
    return Plan(definition.id, definition.version, nodes, links)


def _outlet(pin: str) -> str:
    return pins.TOOLS if pins.is_tool_pin(pin) else pins.base_name(pin)


def _plan_node(node: NodeDefinition, block: Block, incoming: list[LinkDefinition]) -> PlanNode:
    linked = frozenset(link.sink_name for link in incoming)
    policy = policy_of(node.metadata)
    is_isolated = block.isolated or policy.isolated
    return PlanNode(
        id=node.id,
        block=block,
        defaults=node.input_default,
        linked=linked,
        static=frozenset(link.sink_name for link in incoming if link.is_static),
        runs_in_place=block.effect is Effect.PURE and not inspect.isasyncgenfunction(block.run) and not is_isolated,
        is_isolated=is_isolated,
        has_dynamic_pins=any(map(pins.is_dynamic, {*linked, *node.input_default})),
        policy=policy,
        is_start=block.kind is Kind.INPUT or (not linked and block.kind is not Kind.NOTE),
    )
