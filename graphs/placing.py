"""Giving drafts their places: new ids for graphs, nodes and links, and calls that point at the new ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.models import User
from core.ids import uuid7
from graphs import checks
from graphs.blocks.base import Kind
from graphs.blocks.registry import BLOCKS
from graphs.models import GraphVersion, Link, Node
from graphs.schemas import LinkDraft, NodeDraft
from graphs.schemas import SubGraphDraft as Draft


@dataclass(frozen=True, slots=True)
class Place:
    """The graph and version that a draft is saved as."""

    draft: Draft
    graph_id: UUID
    version: int


def place(drafts: Iterable[Draft]) -> list[Place]:
    """A new graph for each id among `drafts`, its versions in their order from 1; drafts without an id stand alone."""
    families: dict[str, dict[int, Draft]] = {}
    for number, draft in enumerate(drafts):
        # An id that is told twice with one version is one graph.
        families.setdefault(draft.id or f"#{number}", {}).setdefault(draft.version, draft)
    return [
        Place(draft, graph_id, version)
        for family in families.values()
        for graph_id in [uuid7()]
        for version, (_, draft) in enumerate(sorted(family.items()), start=1)
    ]


def draw(places: Sequence[Place], targets: Sequence[Place], owner: User) -> None:
    """Insert the versions, nodes and links of `places`; calls of a draft among `targets` are led to its place."""
    calls = _Calls(targets, owner)
    versions: list[GraphVersion] = []
    nodes: list[Node] = []
    links: list[Link] = []
    for p in places:
        row = GraphVersion(
            graph_id=p.graph_id,
            version=p.version,
            name=p.draft.name,
            description=p.draft.description,
            instructions=p.draft.instructions or "",
            recommended_schedule_cron=p.draft.recommended_schedule_cron or "",
        )
        placed = {
            node.id: Node(
                graph_version=row,
                block_id=node.block_id,
                input_default=calls.redirected(node),
                metadata=node.metadata,
                position=position,
            )
            for position, node in enumerate(p.draft.nodes)
        }
        versions.append(row)
        nodes.extend(placed.values())
        links.extend(_links(row, p.draft, placed))
    GraphVersion.objects.bulk_create(versions)
    Node.objects.bulk_create(nodes, batch_size=1000)
    Link.objects.bulk_create(links, batch_size=1000)


class _Calls:
    """Where agent nodes of the drafts must point now."""

    def __init__(self, targets: Iterable[Place], owner: User) -> None:
        self._owner = owner
        self._exact: dict[tuple[str, str], Place] = {}
        self._newest: dict[str, Place] = {}
        for p in targets:
            self._exact[p.draft.id, str(p.draft.version)] = p
            if p.draft.id:
                self._newest[p.draft.id] = p

    def redirected(self, node: NodeDraft) -> dict[str, Any]:
        if BLOCKS.get(node.block_id).kind is not Kind.AGENT:
            return node.input_default
        constants = {"inputs": {}, **node.input_default, "user_id": str(self._owner.pk)}
        graph_id = str(constants.get("graph_id"))
        # Exports of the original format hold one version per graph, so a call may name a version that is not there.
        target = self._exact.get((graph_id, str(constants.get("graph_version")))) or self._newest.get(graph_id)
        if target is not None:
            constants.update(graph_id=str(target.graph_id), graph_version=target.version)
        return constants


def _links(row: GraphVersion, draft: Draft, placed: dict[str, Node]) -> Iterator[Link]:
    drawn: dict[tuple[str, str, str, str], LinkDraft] = {}
    for link in draft.links:
        drawn.setdefault((link.source_id, link.source_name, link.sink_id, link.sink_name), link)
    for position, link in enumerate(drawn.values()):
        source = placed[link.source_id]
        yield Link(
            graph_version=row,
            source=source,
            source_name=link.source_name,
            sink=placed[link.sink_id],
            sink_name=link.sink_name,
            is_static=link.is_static or checks.always_keeps(source),
            position=position,
        )
