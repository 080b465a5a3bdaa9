"""Versions as the JSON of the contract."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from graphs import interface
from graphs.models import GraphVersion, Link, Node
from graphs.stripping import strip_node, strip_text

Json = dict[str, Any]


def as_graph(version: GraphVersion, called: Sequence[GraphVersion] = (), *, for_export: bool = False) -> Json:
    """One version with its drawing and the versions it calls; an export has no secrets, owner or webhooks.

    Both must come from `GraphVersion.objects.with_drawing()`.
    """
    return {
        **_drawn(version, for_export),
        "sub_graphs": [_drawn(sub, for_export) for sub in called],
        "credentials_input_schema": _credentials(version, called),
    }


def as_meta(version: GraphVersion, computed: Json, *, for_export: bool = False) -> Json:
    """One version without its drawing, with what was computed of it; an export has no secrets, owner or webhooks."""
    return {**_described(version, for_export=for_export), "sub_graphs": [], **computed}


def computed_of(version: GraphVersion, called: Sequence[GraphVersion], *, for_export: bool = False) -> Json:
    """What follows from the nodes of a version and of those that it calls."""
    nodes = _nodes(version, for_export)
    return {**interface.describe(nodes), "credentials_input_schema": _credentials(version, called)}


class _StrippedNode:
    """A node as an export shows it."""

    def __init__(self, node: Node) -> None:
        self.id, self.block_id = node.id, node.block_id
        self.graph_version_id = node.graph_version_id
        self.input_default, self.metadata = strip_node(node)
        self.webhook_id = None


def _nodes(version: GraphVersion, for_export: bool) -> list[Node | _StrippedNode]:
    return [_StrippedNode(node) if for_export else node for node in version.nodes.all()]


def _drawn(version: GraphVersion, for_export: bool) -> Json:
    nodes = _nodes(version, for_export)
    links = {link.id: _link(link) for link in version.links.all()}
    inbound: dict[UUID, list[Json]] = {}
    outbound: dict[UUID, list[Json]] = {}
    for link in version.links.all():
        inbound.setdefault(link.sink_id, []).append(links[link.id])
        outbound.setdefault(link.source_id, []).append(links[link.id])
    return {
        **_described(version, for_export=for_export),
        **interface.describe(nodes),
        "created_at": version.created_at,
        "nodes": [
            {
                "id": str(node.id),
                "block_id": node.block_id,
                "input_default": node.input_default,
                "metadata": node.metadata,
                "input_links": inbound.get(node.id, []),
                "output_links": outbound.get(node.id, []),
                "graph_id": str(version.graph_id),
                "graph_version": version.version,
                "webhook_id": node.webhook_id and str(node.webhook_id),
                "webhook": None,
            }
            for node in nodes
        ],
        "links": list(links.values()),
    }


def _link(link: Link) -> Json:
    return {
        "id": str(link.id),
        "source_id": str(link.source_id),
        "sink_id": str(link.sink_id),
        "source_name": link.source_name,
        "sink_name": link.sink_name,
        "is_static": link.is_static,
    }


def _described(version: GraphVersion, *, for_export: bool) -> Json:
    graph = version.graph
    texts: Mapping[str, str | None] = {
        "name": version.name,
        "description": version.description,
        "instructions": version.instructions or None,
    }
    if for_export:
        texts = {key: text and strip_text(text) for key, text in texts.items()}
    return {
        "id": str(graph.id),
        "version": version.version,
        "is_active": version.is_active,
        **texts,
        "recommended_schedule_cron": version.recommended_schedule_cron or None,
        "forked_from_id": graph.forked_from_id and str(graph.forked_from_id),
        "forked_from_version": graph.forked_from_version,
        "user_id": "" if for_export else str(graph.owner_id),
    }


def _credentials(version: GraphVersion, called: Sequence[GraphVersion]) -> Json:
    return interface.credentials_schema(node for drawing in (version, *called) for node in drawing.nodes.all())
