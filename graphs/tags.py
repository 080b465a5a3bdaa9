"""The entity tags of graphs and blocks, made without reading or showing a drawing.

A version never changes, so a few words tell what is shown of it: which it is, whether it is the active one, and with
which blocks its interface is computed. What it calls may be deleted or become the active version: where it calls
others, the state of all graphs of its owner counts.
"""

from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.conf import settings
from django.db.models import QuerySet

from core.etags import tag_of
from graphs.blocks.base import Kind
from graphs.blocks.catalogue import describe
from graphs.blocks.registry import BLOCKS
from graphs.models import Graph, GraphVersion
from graphs.offer import offered

# A page of a list must not take longer the longer the list is.
_MOST_COMPARED = 1_000


def of_version(version: GraphVersion, *, for_export: bool = False) -> str:
    """The tag of one version; of its nodes only those are read that call others, unless all have been."""
    others = _states(version.graph.owner_id) if calls_others(version) else ()
    return tag_of("version", blocks(), version.pk, version.is_active, for_export, *others)


def of_versions(graph: Graph, page: int, page_size: int) -> str:
    """The tag of a page of the versions of a graph."""
    return tag_of("versions", blocks(), graph.pk, graph.latest_version, graph.active_version, page, page_size)


def of_active(owner_id: UUID, page: int, page_size: int, *, for_export: bool) -> str:
    """The tag of a page of somebody's active versions; one that nothing matches when they have too many graphs."""
    states = list(_states(owner_id)[: _MOST_COMPARED + 1])
    if len(states) > _MOST_COMPARED:
        states = [(uuid4(),)]
    return tag_of("active", blocks(), owner_id, page, page_size, for_export, *states)


@cache
def blocks() -> str:
    """The tag of the catalogue of blocks of this process."""
    catalogue = sha256(orjson.dumps([describe(block) for block in offered()])).hexdigest()
    return tag_of("blocks", settings.SPECTACULAR_SETTINGS["VERSION"], catalogue)


def _states(owner_id: UUID) -> "QuerySet[Graph, tuple[Any, ...]]":
    """What differs when a graph of the owner was saved, deleted or activated."""
    graphs = Graph.objects.filter(owner_id=owner_id).order_by("id")
    return graphs.values_list("id", "latest_version", "active_version", "updated_at")


def calls_others(version: GraphVersion) -> bool:
    """Whether a version has nodes that call others."""
    if "nodes" in getattr(version, "_prefetched_objects_cache", {}):
        return any(node.block_id in _agents() for node in version.nodes.all())
    return version.nodes.filter(block_id__in=_agents()).exists()


@cache
def _agents() -> frozenset[str]:
    return frozenset(block.id for block in BLOCKS.all() if block.kind is Kind.AGENT)
