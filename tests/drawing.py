"""Drawing graphs for tests in a few words: nodes by name, links as "from.pin -> to.pin"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.models import User
from core.ids import uuid7
from graphs.blocks.registry import BLOCKS
from graphs.models import Graph, GraphVersion, Link, Node

Drawing = Mapping[str, tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Drawn:
    """A saved graph and the ids of its nodes by the names they were drawn with."""

    id: UUID
    version: int
    nodes: Mapping[str, UUID]


def block_id(name: str) -> str:
    """The id of the block with this name, given without its `Block` ending."""
    return next(block.id for block in BLOCKS.all() if block.name in (name, f"{name}Block"))


def draw(owner: User, nodes: Drawing, links: Sequence[str] = (), name: str = "drawn") -> Drawn:
    """Save a graph. `nodes` maps a name to (block name, constants); a link "a.x => b.y" is static."""
    graph = Graph.objects.create(owner=owner, active_version=1, latest_version=1)
    version = GraphVersion.objects.create(graph=graph, version=1, name=name)
    ids = {node: uuid7() for node in nodes}
    Node.objects.bulk_create(
        Node(id=ids[node], graph_version=version, block_id=block_id(block), input_default=constants, position=place)
        for place, (node, (block, constants)) in enumerate(nodes.items())
    )
    Link.objects.bulk_create(_link(version, ids, text, place) for place, text in enumerate(links))
    return Drawn(graph.id, 1, ids)


def _link(version: GraphVersion, ids: Mapping[str, UUID], text: str, place: int) -> Link:
    is_static = "=>" in text
    (source, source_pin), (sink, sink_pin) = (
        end.strip().split(".", 1) for end in text.split("=>" if is_static else "->")
    )
    return Link(
        graph_version=version,
        source_id=ids[source],
        source_name=source_pin,
        sink_id=ids[sink],
        sink_name=sink_pin,
        is_static=is_static,
        position=place,
    )
