"""The endpoints of graphs and blocks in the external API."""

from functools import cache
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.external import ExternalView
from accounts.models import ApiKeyPermission
from core.api import checked_query, error_responses
from core.etags import IF_NONE_MATCH, NOT_MODIFIED, not_modified
from core.paging import page_parameters
from graphs import tags
from graphs.api.serializers import VersionQuery
from graphs.api.views import MOST_GRAPHS, active_graphs, one_graph
from graphs.blocks.catalogue import describe
from graphs.offer import offered
from graphs.schemas import ExternalBlockModels, GraphMetas, GraphModel


@cache
def _catalogue() -> list[dict[str, Any]]:
    blocks = [describe(block) for block in offered()]
    return [{key: value for key, value in block.items() if key != "costs"} for block in blocks]


class BlocksView(ExternalView):
    """What graphs are made of."""

    needs = ApiKeyPermission.READ_BLOCK

    @extend_schema(
        tags=["external"],
        operation_id="external_list_blocks",
        summary="List all blocks with their pins",
        parameters=[IF_NONE_MATCH],
        responses={200: ExternalBlockModels, **NOT_MODIFIED, **error_responses(401, 403)},
    )
    def get(self, request: Request) -> Response:
        """Every block that is installed and switched on, by name; needs `READ_BLOCK`."""
        return not_modified(request, tags.blocks()) or Response(_catalogue(), headers={"ETag": tags.blocks()})


class GraphsView(ExternalView):
    """The graphs of the key's owner."""

    needs = ApiKeyPermission.READ_GRAPH

    @extend_schema(
        tags=["external"],
        operation_id="external_list_graphs",
        summary="List the owner's active graphs",
        parameters=[*page_parameters(default=MOST_GRAPHS, maximum=MOST_GRAPHS), IF_NONE_MATCH],
        responses={200: GraphMetas, **NOT_MODIFIED, **error_responses(401, 403, 422)},
    )
    def get(self, request: Request) -> Response:
        """The active version of each graph without its drawing and secrets, last changed first; needs `READ_GRAPH`.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        return active_graphs(request, for_export=True)


class GraphView(ExternalView):
    """One graph."""

    needs = ApiKeyPermission.READ_GRAPH

    @extend_schema(
        tags=["external"],
        operation_id="external_get_graph",
        summary="Get a graph with the graphs it calls, without secrets",
        parameters=[VersionQuery, IF_NONE_MATCH],
        responses={200: GraphModel, **NOT_MODIFIED, **error_responses(401, 403, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID) -> Response:
        """The highest version, or the one asked for, as an export; needs `READ_GRAPH`."""
        version = checked_query(VersionQuery, request).get("version")
        return one_graph(request, graph_id, version, for_export=True)
