"""The endpoints where people decide what runs may go on with."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import error_responses
from core.paging import Paging, page_headers, page_parameters
from executions.api.requests import own_run, user_of
from executions.kinds import ReviewStatus
from executions.models import Review
from executions.reviews import MAX_LISTED, MAX_MESSAGE, Verdict, decide, listed

MAX_DECISIONS = 1000


class PendingHumanReviewSerializer(serializers.Serializer[Any]):
    """A question to a person."""

    review_id = serializers.UUIDField()
    node_exec_id = serializers.UUIDField(help_text="The activation that asks.")
    node_id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    graph_exec_id = serializers.UUIDField()
    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField()
    payload = serializers.JSONField(allow_null=True, help_text="What to decide about.")
    instructions = serializers.CharField(help_text="What it is, and what to look for.")
    editable = serializers.BooleanField(help_text="Whether the payload may be changed.")
    status = serializers.ChoiceField([status.value for status in ReviewStatus])
    review_message = serializers.CharField(allow_null=True)
    was_edited = serializers.BooleanField(allow_null=True)
    processed = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField(allow_null=True)
    reviewed_at = serializers.DateTimeField(allow_null=True)
    truncated = serializers.BooleanField(help_text="Whether the payload is shown cut short.")


class ReviewItemSerializer(serializers.Serializer[Any]):
    """What somebody decided."""

    node_exec_id = serializers.UUIDField(help_text="Its newest question is decided, unless review_id names another.")
    approved = serializers.BooleanField()
    message = serializers.CharField(max_length=MAX_MESSAGE, default="", allow_blank=True, allow_null=True)
    reviewed_data = serializers.JSONField(
        default=None,
        allow_null=True,
        help_text="The payload as you changed it: at most 1 MB and 10 levels. Absent or null leaves it as it is.",
    )
    auto_approve_future = serializers.BooleanField(
        default=False, help_text="Approve what this node asks in the rest of the run, too. Not with changed data."
    )
    review_id = serializers.UUIDField(default=None, allow_null=True)


class ReviewRequestSerializer(serializers.Serializer[Any]):
    """Decisions about reviews of one run, each activation once."""

    reviews = serializers.ListField(child=ReviewItemSerializer(), allow_empty=False, max_length=MAX_DECISIONS)


class ReviewResponseSerializer(serializers.Serializer[Any]):
    """How many reviews of the request stand approved and rejected by now."""

    approved_count = serializers.IntegerField()
    rejected_count = serializers.IntegerField()
    failed_count = serializers.IntegerField(help_text="Always 0: either all of a request is decided or none.")
    error = serializers.CharField(allow_null=True)


class PendingReviewsView(APIView):
    """What waits for the caller."""

    @extend_schema(
        tags=["reviews"],
        operation_id="list_pending_reviews",
        summary="List what waits for you to decide",
        parameters=page_parameters(),
        responses={200: PendingHumanReviewSerializer(many=True), **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Return a page of the reviews that wait in all your runs, newest first.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        reviews = Review.objects.visible_to(user_of(request)).waiting().defer("payload")
        page, pagination = Paging.of(request).cut(reviews.order_by("-created_at", "-pk"))
        return Response(listed(page), headers=page_headers(pagination))


class ExecutionReviewsView(APIView):
    """What waits in one run."""

    @extend_schema(
        tags=["reviews"],
        operation_id="list_execution_reviews",
        summary="List what waits in a run for you to decide",
        parameters=page_parameters(default=MAX_LISTED, maximum=MAX_LISTED),
        responses={200: PendingHumanReviewSerializer(many=True), **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_exec_id: UUID) -> Response:
        """Return a page of the reviews that wait in the run, oldest first, without those of runs that it called.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        paging = Paging.of(request, default=MAX_LISTED, maximum=MAX_LISTED)
        reviews = Review.objects.waiting().filter(run=own_run(request, graph_exec_id)).defer("payload")
        page, pagination = paging.cut(reviews.order_by("created_at", "pk"))
        return Response(listed(page), headers=page_headers(pagination))


class ReviewActionView(APIView):
    """Where people decide."""

    @extend_schema(
        tags=["reviews"],
        operation_id="decide_reviews",
        summary="Approve or reject what waits in a run",
        request=ReviewRequestSerializer,
        responses={200: ReviewResponseSerializer, **error_responses(400, 401, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Decide reviews of one run, all or none, and let it go on. The same decision again changes nothing."""
        body = ReviewRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        result = decide(user_of(request).pk, [_verdict(item) for item in body.validated_data["reviews"]])
        counts = {"approved_count": result.approved_count, "rejected_count": result.rejected_count}
        return Response({**counts, "failed_count": 0, "error": None})


def _verdict(item: dict[str, Any]) -> Verdict:
    return Verdict(
        node_execution_id=item["node_exec_id"],
        approved=item["approved"],
        message=item["message"] or "",
        data=item["reviewed_data"],
        approves_rest=item["auto_approve_future"],
        review_id=item["review_id"],
    )
