"""The endpoints of graphs and blocks."""

from functools import cache
from typing import Any, cast
from uuid import UUID

from django.http import JsonResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import body_as, checked_query, error_responses
from core.etags import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, asks_whether_changed, not_modified, tag_of
from core.paging import Paging, page_headers, page_parameters
from graphs import services, tags
from graphs.api.serializers import ExportQuery, GraphQuery
from graphs.blocks.catalogue import describe
from graphs.blocks.costs import as_costs, prices_now
from graphs.blocks.registry import BLOCKS
from graphs.metas import metas_of
from graphs.models import Graph, GraphVersion
from graphs.offer import offered
from graphs.rendering import as_graph
from graphs.schemas import (
    ActivateVersion,
    BlockModels,
    ChangeSettings,
    CreateGraph,
    DeletedVersions,
    GraphDraft,
    GraphMetas,
    GraphModel,
    GraphModels,
    GraphSettings,
)

MOST_GRAPHS = 250
MOST_VERSIONS = 50


def _user(request: Request) -> User:
    return cast(User, request.user)


def _answer(version: GraphVersion, *, for_export: bool = False) -> Response:
    # Before what is called is read: a tag may be older than its answer, never newer.
    tag = tags.of_version(version, for_export=for_export)
    called = services.called_by([version])[version.pk]
    return Response(as_graph(version, called, for_export=for_export), headers={"ETag": tag})


def active_graphs(request: Request, *, for_export: bool = False) -> Response:
    """A page of the active versions of whoever asks, last changed first."""
    paging = Paging.of(request, default=MOST_GRAPHS, maximum=MOST_GRAPHS)
    tag = tags.of_active(_user(request).pk, paging.page, paging.page_size, for_export=for_export)
    if same := not_modified(request, tag):
        return same
    active = GraphVersion.objects.visible_to(_user(request)).active().select_related("graph")
    versions, pagination = paging.cut(active.order_by("-graph__updated_at", "-graph_id"))
    return Response(
        metas_of(versions, for_export=for_export),
        headers={**page_headers(pagination), "ETag": tag},
    )


def one_graph(request: Request, graph_id: UUID, version: int | None, *, for_export: bool) -> Response:
    """A version of a graph of whoever asks, with what it calls; raises `GraphNotFound`."""
    mine = GraphVersion.objects.visible_to(_user(request))
    if asks_whether_changed(request):
        alone = services.find_version_alone(mine, graph_id, version)
        if same := not_modified(request, tags.of_version(alone, for_export=for_export)):
            return same
    return _answer(services.find_version(mine, graph_id, version), for_export=for_export)


class GraphsView(APIView):
    """The caller's graphs."""

    @extend_schema(
        tags=["graphs"],
        operation_id="list_graphs",
        summary="List your active graphs",
        parameters=[*page_parameters(default=MOST_GRAPHS, maximum=MOST_GRAPHS), IF_NONE_MATCH],
        responses={200: GraphMetas, **NOT_MODIFIED, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """The active version of each graph without its drawing, last changed first.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        return active_graphs(request)

    @extend_schema(
        tags=["graphs"],
        operation_id="create_graph",
        summary="Save a drawing as a new graph",
        request=CreateGraph,
        responses={200: GraphModel, **error_responses(400, 401, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Save the drawing and the graphs in `sub_graphs`; all ids are issued anew."""
        body = body_as(CreateGraph, request)
        return _answer(services.create_graph(_user(request), body.graph))


class GraphView(APIView):
    """One graph."""

    @extend_schema(
        tags=["graphs"],
        operation_id="get_graph",
        summary="Get a graph with the graphs it calls",
        parameters=[GraphQuery, IF_NONE_MATCH],
        responses={200: GraphModel, **NOT_MODIFIED, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID) -> Response:
        """The highest version, or the one asked for."""
        query = checked_query(GraphQuery, request)
        return one_graph(request, graph_id, query.get("version"), for_export=query["for_export"])

    @extend_schema(
        tags=["graphs"],
        operation_id="save_graph_version",
        summary="Save a drawing as the next version",
        request=GraphDraft,
        parameters=[IF_MATCH],
        responses={200: GraphModel, **error_responses(400, 401, 404, 412, 413, 415, 422)},
    )
    def put(self, request: Request, graph_id: UUID) -> Response:
        """Save the drawing as the version after the highest, active unless it says otherwise.

        With `If-Match` it is saved only if nobody saved another version meanwhile.
        """
        if_match = request.headers.get("If-Match", "")
        return _answer(services.save_version(_user(request), graph_id, body_as(GraphDraft, request), if_match=if_match))

    @extend_schema(
        tags=["graphs"],
        operation_id="delete_graph",
        summary="Delete a graph with all versions and runs",
        responses={200: DeletedVersions, **error_responses(401, 404, 409)},
    )
    def delete(self, request: Request, graph_id: UUID) -> Response:
        """Delete for good; there is no way back. A graph that presets run is not deleted: `used_by` names them."""
        return Response({"version_counts": services.delete_graph(_user(request), graph_id)})


class SettingsView(APIView):
    """Whether the runs of a graph ask people."""

    @extend_schema(
        tags=["graphs"],
        operation_id="change_graph_settings",
        summary="Change whether runs of a graph ask people",
        request=ChangeSettings,
        responses={200: GraphSettings, **error_responses(401, 404, 413, 415, 422)},
    )
    def patch(self, request: Request, graph_id: UUID) -> Response:
        """Change what the body names and return all settings; an empty object changes nothing.

        Runs that have started keep what they began with.
        """
        settings = services.change_settings(_user(request), graph_id, body_as(ChangeSettings, request))
        return Response(settings.model_dump())


class VersionsView(APIView):
    """The versions of a graph."""

    @extend_schema(
        tags=["graphs"],
        operation_id="list_graph_versions",
        summary="List the versions of a graph",
        parameters=[*page_parameters(default=MOST_VERSIONS, maximum=MOST_VERSIONS), IF_NONE_MATCH],
        responses={200: GraphModels, **NOT_MODIFIED, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID) -> Response:
        """Newest first, without the graphs they call.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        paging = Paging.of(request, default=MOST_VERSIONS, maximum=MOST_VERSIONS)
        graph = Graph.objects.visible_to(_user(request)).filter(pk=graph_id).first()
        if graph is None:
            raise services.not_found(graph_id)
        tag = tags.of_versions(graph, paging.page, paging.page_size)
        if same := not_modified(request, tag):
            return same
        mine = graph.versions.with_drawing()
        versions, pagination = paging.cut(mine.order_by("-version"))
        headers = {**page_headers(pagination), "ETag": tag}
        return Response([as_graph(version) for version in versions], headers=headers)


class VersionView(APIView):
    """One version of a graph."""

    @extend_schema(
        tags=["graphs"],
        operation_id="get_graph_version",
        summary="Get one version with the graphs it calls",
        parameters=[ExportQuery, IF_NONE_MATCH],
        responses={200: GraphModel, **NOT_MODIFIED, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID, version: int) -> Response:
        """The version as it was saved."""
        query = checked_query(ExportQuery, request)
        return one_graph(request, graph_id, version, for_export=query["for_export"])


class ActiveVersionView(APIView):
    """Which version of a graph is used."""

    @extend_schema(
        tags=["graphs"],
        operation_id="activate_graph_version",
        summary="Make a version the active one",
        request=ActivateVersion,
        responses={
            200: OpenApiResponse({"type": "null"}, "The version is the active one now."),
            **error_responses(401, 404, 413, 415, 422),
        },
    )
    def put(self, request: Request, graph_id: UUID) -> JsonResponse:
        """Make the version the one that the library and the triggers use."""
        body = body_as(ActivateVersion, request)
        services.activate(_user(request), graph_id, body.active_graph_version)
        # REST framework would answer None with an empty body, which is not JSON.
        return JsonResponse(None, safe=False)


@cache
def _catalogue() -> list[dict[str, Any]]:
    return [describe(block) for block in offered()]


class BlocksView(APIView):
    """What graphs are made of."""

    @extend_schema(
        tags=["blocks"],
        operation_id="list_blocks",
        summary="List all blocks with their pins",
        parameters=[IF_NONE_MATCH],
        responses={200: BlockModels, **NOT_MODIFIED, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """Every block that is installed and switched on, by name; one without `costs` is free."""
        prices_of = prices_now()
        costs = {block.id: as_costs(prices_of(block)) for block in BLOCKS.all()}
        tag = tag_of("priced", tags.blocks(), costs)
        answer = not_modified(request, tag)
        if answer is None:
            entries = [{**entry, "costs": costs[entry["id"]]} for entry in _catalogue()]
            answer = Response(entries, headers={"ETag": tag})
        answer["Cache-Control"] = "private, max-age=300"
        return answer
