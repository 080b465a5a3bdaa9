"""The endpoints of runs."""

import time
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import checked_query, error_responses
from core.idempotency import IDEMPOTENCY_KEY, idempotency_key_of
from core.paging import CursorPaging, cursor_parameters, page_headers
from executions import services
from executions.api.requests import Trigger, limits_of, own_run, trigger_of, user_of
from executions.api.serializers import (
    ExecuteBatchSerializer,
    ExecuteSerializer,
    GraphExecutionMetaSerializer,
    GraphExecutionsPageSerializer,
    GraphExecutionWithNodesSerializer,
    StartedBatchSerializer,
)
from executions.kinds import FINAL
from executions.models import GraphExecution
from executions.new_runs import RunRequest
from executions.reading import MAX_LISTED, MAX_NODES, listed_run, run_detail, run_meta, with_previews
from library.errors import NoSuchPreset
from library.services import find_preset

STOP_SECONDS = 5.0
# Made once: making one takes nine times as long as what it then does. Validating changes nothing in it.
_EXECUTE = ExecuteSerializer()
_LOOK_SECONDS = 0.05


class NodePageSerializer(serializers.Serializer[Any]):
    """Which of a run's activations to show."""

    node_page = serializers.IntegerField(min_value=1, max_value=1_000_000, default=1)
    node_page_size = serializers.IntegerField(min_value=1, max_value=MAX_NODES, default=MAX_NODES)


class StartedFromSerializer(serializers.Serializer[Any]):
    """What a run is started from."""

    preset_id = serializers.UUIDField(
        required=False, help_text="A preset of the graph, to be shown with the run; its values are not taken."
    )


class ExecuteView(APIView):
    """Where runs begin."""

    throttle_scope = "starts"

    @extend_schema(
        tags=["executions"],
        operation_id="execute_graph",
        summary="Start a run of a graph",
        request=ExecuteSerializer,
        parameters=[StartedFromSerializer, IDEMPOTENCY_KEY],
        responses={200: GraphExecutionMetaSerializer, **error_responses(400, 401, 402, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, graph_id: UUID, graph_version: int) -> Response:
        """Queue a run of one of your graphs with these inputs and return it at once."""
        sent: object = request.data
        asked = _EXECUTE.run_validation({} if sent is None else sent)
        preset = _preset_of(request, graph_id)
        trigger = trigger_of(idempotency_key_of(request), "execute", graph_id, graph_version, asked, *preset.values())
        given = _given(asked, trigger) | preset
        run = services.start_run(graph_id, graph_version, user_id=user_of(request).pk, **given)
        return Response(run_meta(run))


class ExecuteBatchView(APIView):
    """Where many runs begin at once."""

    throttle_scope = "batches"

    @extend_schema(
        tags=["executions"],
        operation_id="execute_graph_batch",
        summary="Start many runs of a graph",
        request=ExecuteBatchSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: StartedBatchSerializer, **error_responses(400, 401, 402, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, graph_id: UUID, graph_version: int) -> Response:
        """Queue up to 1,000 runs of one of your graphs, all or none, and return them at once.

        When the graph cannot run with the inputs of one of them, `run_index` says which.
        """
        body = ExecuteBatchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data["runs"]
        key = idempotency_key_of(request)
        whole = trigger_of(key, "execute-batch", graph_id, graph_version, asked)
        requests = []
        for index, each in enumerate(asked):
            own = trigger_of(each.pop("idempotency_key", None), "execute", graph_id, graph_version, each)
            trigger = own if own.key else Trigger(whole.key and f"{whole.key}:{index}", whole.request_hash)
            requests.append(RunRequest(**_given(each, trigger)))
        runs = services.start_runs(graph_id, graph_version, user_id=user_of(request).pk, runs=requests)
        return Response({"executions": [run_meta(run) for run in runs]})


class ExecutionsView(APIView):
    """All runs of the caller."""

    @extend_schema(
        tags=["executions"],
        operation_id="list_executions",
        summary="List your newest runs",
        parameters=cursor_parameters(default=MAX_LISTED, maximum=MAX_LISTED),
        responses={200: GraphExecutionMetaSerializer(many=True), **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Return a page of the runs of all your graphs, newest first, with their values as previews.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands,
        X-Next-Cursor how to get the page behind it, unless it is the last.
        """
        paging = CursorPaging.of(request, default=MAX_LISTED, maximum=MAX_LISTED)
        page, pagination = paging.cut(with_previews(GraphExecution.objects.visible_to(user_of(request))))
        return Response([listed_run(run) for run in page], headers=page_headers(pagination))


class ExecutionView(APIView):
    """A run, by its id alone."""

    @extend_schema(
        tags=["executions"],
        operation_id="delete_execution",
        summary="Delete a run",
        responses={204: None, **error_responses(401, 404)},
    )
    def delete(self, request: Request, graph_exec_id: UUID) -> Response:
        """Stop a run if it is under way, and remove it from every list."""
        services.delete_run(own_run(request, graph_exec_id).pk)
        return Response(status=204)


class GraphExecutionsView(APIView):
    """The runs of one graph."""

    @extend_schema(
        tags=["executions"],
        operation_id="list_graph_executions",
        summary="List the runs of a graph",
        parameters=cursor_parameters(),
        responses={200: GraphExecutionsPageSerializer, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID) -> Response:
        """Return a page of the graph's runs, newest first, with their values as previews."""
        runs = GraphExecution.objects.visible_to(user_of(request)).filter(graph=graph_id)
        page, pagination = CursorPaging.of(request).cut(with_previews(runs))
        return Response({"executions": [listed_run(run) for run in page], "pagination": pagination})


class GraphExecutionView(APIView):
    """One run."""

    @extend_schema(
        tags=["executions"],
        operation_id="get_execution",
        summary="Get a run with its outputs and activations",
        parameters=[NodePageSerializer],
        responses={200: GraphExecutionWithNodesSerializer, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Return the run with its values, its newest outputs and a page of its activations.

        Page 1 has the newest activations; within a page the oldest come first.
        """
        query = checked_query(NodePageSerializer, request)
        run = own_run(request, graph_exec_id, graph_id)
        return Response(run_detail(run, page=query["node_page"], page_size=query["node_page_size"]))


class StopView(APIView):
    """Where runs are stopped."""

    @extend_schema(
        tags=["executions"],
        operation_id="stop_execution",
        summary="Stop a run",
        request=None,
        responses={200: GraphExecutionMetaSerializer, **error_responses(401, 404)},
    )
    def post(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Stop a run and the runs it called, wait up to 5 seconds for its end, and return it as it is then."""
        run = services.stop_run(own_run(request, graph_exec_id, graph_id).pk)
        deadline = time.monotonic() + STOP_SECONDS
        while run.status not in FINAL and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            run.refresh_from_db()
        return Response(run_meta(run))


def _preset_of(request: Request, graph_id: UUID) -> dict[str, UUID]:
    """The `preset_id` of the query, if there is one; raises `NoSuchPreset` if it is none of that graph's."""
    if not request.query_params.get("preset_id"):
        return {}
    preset = find_preset(user_of(request), checked_query(StartedFromSerializer, request)["preset_id"])
    if preset.graph_id != graph_id:
        raise NoSuchPreset(preset_id=str(preset.pk))
    return {"preset_id": preset.pk}


def _given(asked: dict[str, Any], trigger: Trigger) -> dict[str, Any]:
    """What a run is started with, after an `ExecuteSerializer`, by the names that services have for it."""
    return {
        "inputs": asked["inputs"],
        "credential_inputs": asked["credentials_inputs"],
        **limits_of(asked),
        "trigger_key": trigger.key,
        "request_hash": trigger.request_hash,
    }
