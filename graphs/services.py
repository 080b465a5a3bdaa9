"""Decide about graphs and change them; each function is one transaction."""

from uuid import UUID

from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from graphs.errors import GraphNotFound
from graphs.models import GraphVersion, Link, Node


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
        raise GraphNotFound(f"Graph {graph_id} has no version {version}", graph_id=str(graph_id), version=version)
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
