"""A graph as plain data: what the checks examine and the engine runs. No rows, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NodeDefinition:
    """A block placed in a graph, with the constants given to its pins."""

    id: UUID
    block_id: str
    input_default: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkDefinition:
    """A wire from an output pin to an input pin; the value on a static one is kept, not consumed."""

    id: UUID
    source_id: UUID
    source_name: str
    sink_id: UUID
    sink_name: str
    is_static: bool = False


@dataclass(frozen=True, slots=True)
class GraphDefinition:
    """One version of a graph: never changes once saved. Nodes and links are in the order they were drawn."""

    id: UUID
    version: int
    owner_id: UUID
    name: str
    nodes: tuple[NodeDefinition, ...]
    links: tuple[LinkDefinition, ...]
