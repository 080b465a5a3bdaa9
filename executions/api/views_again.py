"""The endpoints that ask why a run waits, run it again, and compare it with another."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import checked_query, error_responses
from core.idempotency import IDEMPOTENCY_KEY, idempotency_key_of
from executions.again import replay_run, retry_run
from executions.api.requests import own_run, trigger_of
from executions.api.serializers import DiffSerializer, GraphExecutionMetaSerializer, ReplaySerializer, WhySerializer
from executions.compare import diff_runs
from executions.explain import why
from executions.reading import run_meta


class OtherRunSerializer(serializers.Serializer[Any]):
    """Which run to compare with."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The one field, whose name is a keyword of Python."""
        return {"with": serializers.UUIDField(help_text="Another run of the same version of the graph.")}


class RetryView(APIView):
    """Where runs go on from what failed."""

    throttle_scope = "starts"

    @extend_schema(
        tags=["executions"],
        operation_id="retry_execution",
        summary="Run again what failed",
        request=None,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: GraphExecutionMetaSerializer, **error_responses(401, 402, 404, 409, 422)},
    )
    def post(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Queue a new run that takes over what succeeded in this ended one and runs the rest, and return it at once."""
        source = own_run(request, graph_exec_id, graph_id)
        trigger = trigger_of(idempotency_key_of(request), "retry", source.pk)
        return Response(run_meta(retry_run(source.pk, trigger_key=trigger.key, request_hash=trigger.request_hash)))


class ReplayView(APIView):
    """Where runs are run again from a node."""

    throttle_scope = "starts"

    @extend_schema(
        tags=["executions"],
        operation_id="replay_execution",
        summary="Run again from a node",
        request=ReplaySerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: GraphExecutionMetaSerializer, **error_responses(400, 401, 402, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Queue a new run that runs a node of this ended one again and all behind it, and return it at once.

        Everything else is taken over. `inputs` win over what the node was given.
        """
        body = ReplaySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        source = own_run(request, graph_exec_id, graph_id)
        node_id, inputs = body.validated_data["node_id"], body.validated_data["inputs"]
        trigger = trigger_of(idempotency_key_of(request), "replay", source.pk, node_id, inputs)
        run = replay_run(source.pk, node_id, inputs, trigger_key=trigger.key, request_hash=trigger.request_hash)
        return Response(run_meta(run))


class DiffView(APIView):
    """Where runs are compared."""

    @extend_schema(
        tags=["executions"],
        operation_id="diff_executions",
        summary="Find where two runs part",
        parameters=[OtherRunSerializer],
        responses={200: DiffSerializer, **error_responses(400, 401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Return the first node whose inputs differ between this run, a, and the other, b, and whose outputs do."""
        query = checked_query(OtherRunSerializer, request)
        run, other = own_run(request, graph_exec_id, graph_id), own_run(request, query["with"])
        return Response(diff_runs(run.pk, other.pk))


class WhyView(APIView):
    """Where runs explain themselves."""

    @extend_schema(
        tags=["executions"],
        operation_id="explain_execution",
        summary="Ask what a run waits for",
        responses={200: WhySerializer, **error_responses(401, 404)},
    )
    def get(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Return one sentence for each thing that the run waits for; of one that ended, what could never run."""
        reasons = why(own_run(request, graph_exec_id, graph_id).pk)
        return Response({"status": reasons.status.wire, "sentences": reasons.sentences, "stalled": reasons.stalled})
