"""The endpoint that tells what a run is likely to cost."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import error_responses
from core.whole_numbers import WholeNumberField
from credits.kinds import CREDIT, MOST_CREDITS
from executions.api.requests import user_of
from executions.estimates import Estimate, NodeEstimate, Source, estimate_run
from executions.new_runs import NODE_BUDGET
from executions.worst_case import Unknown
from graphs.blocks.registry import BLOCKS
from graphs.models import GraphVersion
from graphs.services import find_version_alone, load_definition

ESTIMATE_SOURCES = [source.value for source in Source]
ESTIMATE_UNKNOWNS = [reason.value for reason in Unknown]
_WHOLE = "Whole credits, rounded up. "


class EstimateRequestSerializer(serializers.Serializer[Any]):
    """The run that might be started."""

    graph_version = serializers.IntegerField(
        min_value=1, max_value=2_147_483_647, default=None, allow_null=True, help_text="Absent: the highest."
    )
    node_budget = serializers.IntegerField(min_value=1, max_value=10_000_000, default=NODE_BUDGET)
    output_budget = serializers.IntegerField(min_value=1, max_value=100_000_000, default=None, allow_null=True)
    max_credits = WholeNumberField(min_value=1, max_value=MOST_CREDITS, default=None, allow_null=True)


class EstimateSerializer(serializers.Serializer[Any]):
    """What something is likely to cost."""

    estimated_from = serializers.ChoiceField(
        ESTIMATE_SOURCES,
        help_text="history: what finished runs of this version used at these prices. limits: the drawing, each node "
        "taken to run once and what is measured to come to one unit. free: it has no price.",
    )
    p50 = serializers.IntegerField(help_text=_WHOLE + "Half of the runs cost no more.")
    p90 = serializers.IntegerField(help_text=_WHOLE + "Nine of ten runs cost no more.")
    worst = serializers.IntegerField(allow_null=True, help_text=_WHOLE + "No run costs more; null: nobody can say.")
    p50_microcredits = serializers.IntegerField()
    p90_microcredits = serializers.IntegerField()
    worst_microcredits = serializers.IntegerField(allow_null=True)
    unknown = serializers.ListField(
        child=serializers.ChoiceField(ESTIMATE_UNKNOWNS),
        help_text="Why there is no worst: measured: its price is for bytes, for tokens, or for seconds without a time "
        "limit. calls: it calls graphs that have no worst case, or cannot be looked up.",
    )


class NodeEstimateSerializer(EstimateSerializer):
    """What a node is likely to cost."""

    node_id = serializers.UUIDField()
    block_id = serializers.CharField()
    block_name = serializers.CharField()
    price_microcredits = serializers.IntegerField(help_text="The price that is likely to count; 0: none.")
    price_per = serializers.CharField(allow_null=True, help_text="run, second, byte, token or item.")


class RunEstimateSerializer(EstimateSerializer):
    """What a run is likely to cost, with all that it calls."""

    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField()
    is_metered = serializers.BooleanField(help_text="False while credits are disabled: then everything is free.")
    runs_looked_at = serializers.IntegerField(help_text="Finished runs of this version at these prices, 50 at most.")
    nodes = NodeEstimateSerializer(many=True)


class EstimateView(APIView):
    """What runs of a graph cost."""

    @extend_schema(
        tags=["executions"],
        operation_id="estimate_graph",
        summary="Tell what a run is likely to cost",
        request=EstimateRequestSerializer,
        responses={200: RunEstimateSerializer, **error_responses(400, 401, 404, 413, 415, 422)},
    )
    def post(self, request: Request, graph_id: UUID) -> Response:
        """Tell what a run that starts now would cost, in all and each node, and how that is known. Nothing starts."""
        sent: object = request.data
        body = EstimateRequestSerializer(data={} if sent is None else sent)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        mine = GraphVersion.objects.filter(graph__owner=user_of(request))
        version = find_version_alone(mine, graph_id, asked["graph_version"]).version
        run = estimate_run(
            load_definition(graph_id, version),
            node_budget=asked["node_budget"],
            output_budget=asked["output_budget"],
            max_credits=asked["max_credits"],
        )
        answer = {
            "graph_id": graph_id,
            "graph_version": version,
            "is_metered": run.is_metered,
            "runs_looked_at": run.runs,
            **_told(run.whole),
            "nodes": [_node(each) for each in run.nodes],
        }
        return Response(RunEstimateSerializer(answer).data)


def _node(each: NodeEstimate) -> dict[str, Any]:
    return {
        "node_id": each.node.id,
        "block_id": each.node.block_id,
        "block_name": BLOCKS.get(each.node.block_id).name,
        "price_microcredits": each.amount,
        "price_per": each.per,
        **_told(each.estimate),
    }


def _told(estimate: Estimate) -> dict[str, Any]:
    amounts = {"p50": estimate.p50, "p90": estimate.p90, "worst": estimate.worst}
    return {
        "estimated_from": estimate.source.value,
        **{name: None if amount is None else -(-amount // CREDIT) for name, amount in amounts.items()},
        **{f"{name}_microcredits": amount for name, amount in amounts.items()},
        "unknown": [reason.value for reason in estimate.unknown],
    }
