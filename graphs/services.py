"""Decide about graphs and change them; each function that writes is one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, RestrictedError

from accounts.models import User
from core import etags
from graphs import checks, tags
from graphs.blocks.base import Kind
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from graphs.errors import (
    GraphChanged,
    GraphIdMismatch,
    GraphInUse,
    GraphInvalid,
    GraphNotFound,
    NodeErrors,
    Problem,
    UnknownBlock,
)
from graphs.models import Graph, GraphVersion, GraphVersionQuerySet, Link, Node
from graphs.pinouts import NodeLike
from graphs.placing import Place, draw, place
from graphs.rendering import as_graph
from graphs.schemas import ChangeSettings, GraphDraft, GraphSettings
from graphs.schemas import SubGraphDraft as Draft

# How many levels of graphs that call graphs are followed.
MAX_DEPTH = 25

GraphKey = tuple[UUID, int]

# --- Reading ----------------------------------------------------------------------------------------------------


def load_definition(graph_id: UUID, version: int) -> GraphDefinition:
    """Read one version as plain data, in three queries.

    Raises `GraphNotFound` when the graph does not have that version.
    """
    row = (
        GraphVersion.objects.filter(graph_id=graph_id, version=version)
        .values_list("id", "name", "graph__owner_id")
        .first()
    )
    if row is None:
        raise not_found(graph_id, version)
    version_id, name, owner_id = row
    nodes = Node.objects.filter(graph_version_id=version_id).order_by("position", "id")
    links = Link.objects.filter(graph_version_id=version_id).order_by("position", "id")
    return GraphDefinition(
        id=graph_id,
        version=version,
        owner_id=owner_id,
        name=name,
        nodes=tuple(
            NodeDefinition(*values) for values in nodes.values_list("id", "block_id", "input_default", "metadata")
        ),
        links=tuple(
            LinkDefinition(*values)
            for values in links.values_list("id", "source_id", "source_name", "sink_id", "sink_name", "is_static")
        ),
    )


def find_version(among: GraphVersionQuerySet, graph_id: UUID, version: int | None = None) -> GraphVersion:
    """The version of a graph with its drawing, the highest one unless `version` says which.

    Raises `GraphNotFound` when it is not `among` the versions that the caller may see.
    """
    return find_version_alone(among.with_drawing(), graph_id, version)


def find_version_alone(among: GraphVersionQuerySet, graph_id: UUID, version: int | None = None) -> GraphVersion:
    """As `find_version`, with only its graph fetched along."""
    found = among.select_related("graph").filter(graph_id=graph_id)
    row = (found if version is None else found.filter(version=version)).order_by("-version").first()
    if row is None:
        raise not_found(graph_id, version)
    return row


def called_by(versions: Sequence[GraphVersion]) -> dict[UUID, list[GraphVersion]]:
    """The versions that each of `versions` calls through its agent nodes, directly or not, by the caller's row id.

    One set of queries for each level of calls. Only graphs of the same owner count; others are left out.
    """
    known: dict[GraphKey, GraphVersion] = {}
    asked: set[GraphKey] = set()
    frontier = list(versions)
    for _ in range(MAX_DEPTH):
        owners = {row.graph.owner_id for row in frontier}
        wanted = {key for row in frontier for key in _calls(row.nodes.all())} - asked
        if not wanted:
            break
        asked |= wanted
        frontier = list(_rows(wanted, owners))
        known.update({(row.graph_id, row.version): row for row in frontier})
    return {row.pk: _reached(row, known) for row in versions}


def export_graph(version: GraphVersion) -> dict[str, Any]:
    """A version with the versions it calls, without secrets, owner and webhooks: fit to be given away."""
    return as_graph(version, called_by([version])[version.pk], for_export=True)


# --- Checking ---------------------------------------------------------------------------------------------------


def _check_drafts(drafts: Iterable[Draft]) -> None:
    problems: list[Problem] = []
    node_errors: NodeErrors = {}
    for draft in drafts:
        flaws = checks.check_structure(draft)
        problems.extend(flaws)
        if not flaws:
            node_errors.update(checks.check_pins(draft))
    if problems or node_errors:
        raise GraphInvalid(problems, node_errors)


# --- Writing ----------------------------------------------------------------------------------------------------


def create_graph(owner: User, draft: GraphDraft) -> GraphVersion:
    """Save a drawing as a new graph, and the graphs in its `sub_graphs` as new graphs that it calls.

    All ids are issued anew. A new graph starts at version 1; where `sub_graphs` hold several versions of one graph,
    they keep their order. Raises `GraphInvalid` and then saves nothing.
    """
    places = place([draft, *draft.sub_graphs])
    _check_drafts(p.draft for p in places)
    with transaction.atomic():
        _insert(owner, places)
    top = next(p for p in places if p.draft is draft)
    return find_version(GraphVersion.objects.all(), top.graph_id, top.version)


@transaction.atomic
def save_version(owner: User, graph_id: UUID, draft: GraphDraft, *, if_match: str = "") -> GraphVersion:
    """Save a drawing as the next version of `owner`'s graph, and make it the active one if it says so.

    Graphs in `sub_graphs` that exist already are called as they are; the others are created.
    With `if_match`, the header of that name, only if what it names is the highest version as it is now.
    Raises `GraphNotFound`, `GraphChanged`, `GraphIdMismatch` when the draft has another graph's id, and `GraphInvalid`.
    """
    graph = _locked(owner, graph_id)
    if if_match:
        _check_unchanged(graph, if_match)
    if draft.id and draft.id != str(graph_id):
        raise GraphIdMismatch(f"The body's id {draft.id} is not the path's id {graph_id}")
    known = {
        (str(row.graph_id), row.version)
        for row in _rows(set(_keys(draft.sub_graphs)), {owner.pk}).prefetch_related(None)
    }
    places = place([sub for sub in draft.sub_graphs if (sub.id, sub.version) not in known])
    _check_drafts([draft, *(p.draft for p in places)])
    _insert(owner, places)
    graph.latest_version += 1
    if draft.is_active:
        graph.active_version = graph.latest_version
    graph.save(update_fields=["latest_version", "active_version", "updated_at"])
    draw([Place(draft, graph.pk, graph.latest_version)], places, owner)
    return find_version(GraphVersion.objects.all(), graph_id, graph.latest_version)


@transaction.atomic
def activate(owner: User, graph_id: UUID, version: int) -> None:
    """Make `version` the one that the library and the triggers use; raises `GraphNotFound`."""
    graph = _locked(owner, graph_id)
    if not graph.versions.filter(version=version).exists():
        raise not_found(graph_id, version)
    graph.active_version = version
    graph.save(update_fields=["active_version", "updated_at"])


@transaction.atomic
def change_settings(owner: User, graph_id: UUID, changes: ChangeSettings) -> GraphSettings:
    """Change whether runs of a graph ask people, and return how it is then; raises `GraphNotFound`.

    Runs that have started keep what they began with.
    """
    graph = _locked(owner, graph_id)
    changed = changes.model_dump(exclude_none=True)
    for name, value in changed.items():
        setattr(graph, name, value)
    graph.save(update_fields=changed)
    return GraphSettings.model_validate(graph)


@transaction.atomic
def delete_graph(owner: User, graph_id: UUID) -> int:
    """Delete all versions of a graph and their runs; returns how many versions.

    Raises `GraphNotFound`, or `GraphInUse` while there is something that is not to lose its graph.
    """
    graph = _locked(owner, graph_id)
    count = graph.versions.count()
    try:
        graph.delete()
    except RestrictedError as error:
        users = sorted(error.restricted_objects, key=lambda row: str(row.pk))
        raise GraphInUse([(str(row._meta.verbose_name), str(row.pk), str(row)) for row in users]) from None
    return count


def _insert(owner: User, places: Sequence[Place]) -> None:
    by_graph: dict[UUID, list[Place]] = {}
    for p in places:
        by_graph.setdefault(p.graph_id, []).append(p)
    Graph.objects.bulk_create(_graph_row(owner, graph_id, versions) for graph_id, versions in by_graph.items())
    draw(places, places, owner)


def _graph_row(owner: User, graph_id: UUID, versions: Sequence[Place]) -> Graph:
    newest = versions[-1].draft
    return Graph(
        id=graph_id,
        owner=owner,
        active_version=max((p.version for p in versions if p.draft.is_active), default=None),
        latest_version=len(versions),
        forked_from_id=newest.forked_from_id,
        forked_from_version=newest.forked_from_version,
    )


def _check_unchanged(graph: Graph, if_match: str) -> None:
    highest = find_version_alone(GraphVersion.objects.all(), graph.pk, graph.latest_version)
    if not etags.matches(if_match, tags.of_version(highest)):
        raise GraphChanged(latest_version=graph.latest_version)


def _locked(owner: User, graph_id: UUID) -> Graph:
    graph = Graph.objects.visible_to(owner).filter(pk=graph_id).locked().first()
    if graph is None:
        raise not_found(graph_id)
    return graph


def not_found(graph_id: UUID, version: int | None = None) -> GraphNotFound:
    """The error that says that the caller has no such graph or version."""
    which = f"graph {graph_id}" if version is None else f"version {version} of graph {graph_id}"
    return GraphNotFound(f"There is no {which}, or it is not yours")


def _rows(keys: set[GraphKey], owners: Iterable[UUID]) -> GraphVersionQuerySet:
    if not keys:
        return GraphVersion.objects.none()
    wanted = Q()
    for graph_id, version in sorted(keys):
        wanted |= Q(graph_id=graph_id, version=version)
    return GraphVersion.objects.with_drawing().filter(wanted, graph__owner__in=owners)


def _keys(drafts: Iterable[Draft]) -> Iterable[GraphKey]:
    for draft in drafts:
        try:
            yield UUID(draft.id), draft.version
        except ValueError:
            continue


def _call(node: NodeLike) -> GraphKey | None:
    """The version that an agent node calls; None for other nodes and for a call that names none."""
    try:
        if BLOCKS.get(node.block_id).kind is Kind.AGENT:
            return UUID(str(node.input_default["graph_id"])), int(node.input_default["graph_version"])
    except (UnknownBlock, KeyError, TypeError, ValueError):
        pass
    return None


def _calls(nodes: Iterable[NodeLike]) -> list[GraphKey]:
    return [key for node in nodes if (key := _call(node)) is not None]


def _reached(start: GraphVersion, known: Mapping[GraphKey, GraphVersion]) -> list[GraphVersion]:
    """What `start` calls, nearest first, each once."""
    reached: dict[GraphKey, GraphVersion] = {}
    frontier = [start]
    while frontier:
        keys = [key for row in frontier for key in _calls(row.nodes.all())]
        frontier = []
        for key in keys:
            is_new = key not in reached and key != (start.graph_id, start.version)
            if is_new and key in known and known[key].graph.owner_id == start.graph.owner_id:
                reached[key] = known[key]
                frontier.append(known[key])
    return list(reached.values())
