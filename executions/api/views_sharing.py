"""The endpoints of shared runs."""

import re
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import Problem, RequestInvalid, error_responses
from executions import sharing
from executions.api.requests import own_run, user_of
from executions.api.serializers import STATUSES

_PATTERN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RULE = "Input should be the token of a link: a UUID in lower case"


class LinkSerializer(serializers.Serializer[Any]):
    """What opens a shared run."""

    share_url = serializers.URLField(help_text="The page of the front end that shows it.")
    share_token = serializers.UUIDField()


class SharedRunSerializer(serializers.Serializer[Any]):
    """What everybody with the link sees of a run."""

    id = serializers.UUIDField()
    graph_name = serializers.CharField()
    graph_description = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(STATUSES)
    created_at = serializers.DateTimeField()
    outputs = serializers.DictField(child=serializers.ListField(), help_text="The values of each output, by its name.")
    truncated = serializers.BooleanField(help_text="Whether some value is cut short or left out.")


class ShareView(APIView):
    """Whether a run is shared."""

    @extend_schema(
        tags=["sharing"],
        operation_id="share_execution",
        summary="Share a run by a link",
        request=None,
        responses={200: LinkSerializer, **error_responses(401, 404)},
    )
    def post(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """Show the run's outputs to whoever has the link. Each call makes a new one and ends the one before."""
        link = sharing.share(own_run(request, graph_exec_id, graph_id).pk, by=user_of(request).pk)
        return Response({"share_url": link.url, "share_token": link.token})

    @extend_schema(
        tags=["sharing"],
        operation_id="unshare_execution",
        summary="Share a run no longer",
        responses={204: None, **error_responses(401, 404)},
    )
    def delete(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> Response:
        """End the link to the run; without one nothing changes."""
        sharing.unshare(own_run(request, graph_exec_id, graph_id).pk, by=user_of(request).pk)
        return Response(status=204)


class SharedRunView(APIView):
    """What a link leads to."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["sharing"],
        operation_id="get_shared_execution",
        summary="See a shared run",
        parameters=[OpenApiParameter("share_token", {"type": "string", "pattern": f"^{_PATTERN.pattern}$"}, "path")],
        responses={200: SharedRunSerializer, **error_responses(404, 422)},
        auth=[],
    )
    def get(self, request: Request, share_token: str) -> Response:
        """Return the outputs of the run behind a link, without inputs and without anything about its owner."""
        if not _PATTERN.fullmatch(share_token):
            raise RequestInvalid([Problem(loc=["path", "share_token"], msg=_RULE, type="pattern")])
        return Response(sharing.shared_run(share_token))
