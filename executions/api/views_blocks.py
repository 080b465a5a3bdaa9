"""The endpoint where a block runs by itself."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import error_responses
from executions.api.requests import user_of
from executions.one_block import run_block

# What both doors, this one and that for programs, say of the body and the answers.
EXECUTE_BLOCK: dict[str, Any] = {
    "request": {"application/json": {"type": "object", "additionalProperties": {}}},
    "responses": {
        200: {"type": "object", "additionalProperties": {"type": "array", "items": {}}},
        **error_responses(400, 401, 403, 404, 413, 415, 422, 503),
    },
}


class ExecuteBlockView(APIView):
    """A block by itself."""

    throttle_scope = "starts"

    @extend_schema(
        tags=["blocks"],
        operation_id="execute_block",
        summary="Run a single block and wait for its outputs",
        **EXECUTE_BLOCK,
    )
    def post(self, request: Request, block_id: str) -> Response:
        """Run the block with the body's values by pin, without credentials, for 30 seconds at most.

        The answer has a list of values for each pin that gave any.
        """
        return answer_of(request, block_id)


def answer_of(request: Request, block_id: str) -> Response:
    """What the block gave with the body of the request as its inputs."""
    inputs = serializers.DictField().run_validation(request.data)
    return Response(run_block(user_of(request), block_id, inputs))
