"""The endpoints of runs in the external API."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.external import ExternalView
from accounts.keys import Access
from accounts.models import ApiKeyPermission
from core.api import checked_query, error_responses
from core.idempotency import IDEMPOTENCY_KEY, idempotency_key_of
from core.paging import PaginationSerializer
from executions import services
from executions.api.requests import own_run, trigger_of, user_of
from executions.api.serializers import STATUSES
from executions.api.views import NodePageSerializer
from executions.api.views_blocks import EXECUTE_BLOCK, answer_of
from executions.kinds import Status
from executions.reading import run_detail


class ExternalExecuteSerializer(serializers.Serializer[Any]):
    """What a run is started with."""

    node_input = serializers.DictField(default=dict, help_text="Values for the graph's inputs, by their names.")


class StartedSerializer(serializers.Serializer[Any]):
    """A run that has been queued."""

    id = serializers.UUIDField()


class NodeResultSerializer(serializers.Serializer[Any]):
    """One activation of a node."""

    node_id = serializers.UUIDField()
    input = serializers.DictField(help_text="What the node was given, by pin.")
    output = serializers.DictField(child=serializers.ListField(), help_text="The values that each pin gave.")


class ResultsSerializer(serializers.Serializer[Any]):
    """How far a run is, and what it gave."""

    execution_id = serializers.UUIDField()
    status = serializers.ChoiceField(STATUSES)
    nodes = NodeResultSerializer(many=True)
    output = serializers.ListField(
        child=serializers.DictField(),
        allow_null=True,
        help_text="One object for each value; null until COMPLETED.",
    )
    error = serializers.CharField(allow_null=True, help_text="Why the run failed.")
    truncated = serializers.BooleanField(help_text="Whether some value is shown cut short.")
    node_pagination = PaginationSerializer()


class ExecuteView(ExternalView):
    """Where runs begin."""

    throttle_scope = "starts"
    needs = ApiKeyPermission.EXECUTE_GRAPH

    @extend_schema(
        tags=["external"],
        operation_id="external_execute_graph",
        summary="Start a run of a graph",
        request=ExternalExecuteSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: StartedSerializer, **error_responses(400, 401, 402, 403, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, graph_id: UUID, graph_version: int) -> Response:
        """Queue a run of one of the owner's graphs with these inputs and return its id; needs `EXECUTE_GRAPH`."""
        sent: object = request.data
        body = ExternalExecuteSerializer(data={} if sent is None else sent)
        body.is_valid(raise_exception=True)
        inputs = body.validated_data["node_input"]
        trigger = trigger_of(idempotency_key_of(request), "external-execute", graph_id, graph_version, inputs)
        access = request.auth if isinstance(request.auth, Access) else None
        run = services.start_run(
            graph_id,
            graph_version,
            user_id=user_of(request).pk,
            inputs=inputs,
            api_key_id=access.key_id if access else None,
            key_has_budget=access is not None and access.has_budget,
            trigger_key=trigger.key,
            request_hash=trigger.request_hash,
        )
        return Response({"id": str(run.pk)})


class ExecuteBlockView(ExternalView):
    """A block by itself."""

    throttle_scope = "starts"
    needs = ApiKeyPermission.EXECUTE_BLOCK

    @extend_schema(
        tags=["external"],
        operation_id="external_execute_block",
        summary="Run a single block and wait for its outputs",
        **EXECUTE_BLOCK,
    )
    def post(self, request: Request, block_id: str) -> Response:
        """Run the block with the body's values by pin, without credentials; needs `EXECUTE_BLOCK`."""
        return answer_of(request, block_id)


class ResultsView(ExternalView):
    """What a run gave."""

    needs = ApiKeyPermission.READ_GRAPH

    @extend_schema(
        tags=["external"],
        operation_id="external_get_results",
        summary="Get the results of a run",
        parameters=[NodePageSerializer],
        responses={200: ResultsSerializer, **error_responses(401, 403, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Return how far a run is, with a page of its activations and its newest outputs; needs `READ_GRAPH`."""
        query = checked_query(NodePageSerializer, request)
        run = own_run(request, graph_exec_id, graph_id)
        return Response(_results(run_detail(run, page=query["node_page"], page_size=query["node_page_size"])))


def _results(detail: dict[str, Any]) -> dict[str, Any]:
    is_complete = detail["status"] == Status.COMPLETED.wire
    return {
        "execution_id": detail["id"],
        "status": detail["status"],
        "nodes": [
            {"node_id": node["node_id"], "input": node["input_data"], "output": node["output_data"]}
            for node in detail["node_executions"]
        ],
        "output": [{name: value} for name, values in detail["outputs"].items() for value in values]
        if is_complete
        else None,
        "error": detail["error"],
        "truncated": detail["truncated"],
        "node_pagination": detail["node_pagination"],
    }
