"""The endpoint that runs presets."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import error_responses
from core.idempotency import IDEMPOTENCY_KEY, idempotency_key_of
from executions.api.requests import limits_of, trigger_of, user_of
from executions.api.serializers import ExecutePresetSerializer, GraphExecutionMetaSerializer
from executions.presets import start_preset
from executions.reading import run_meta
from library.services import find_preset


class ExecutePresetView(APIView):
    """Where runs of presets begin."""

    throttle_scope = "starts"

    @extend_schema(
        tags=["presets"],
        operation_id="execute_preset",
        summary="Start a run of a preset",
        request=ExecutePresetSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: GraphExecutionMetaSerializer, **error_responses(400, 401, 402, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, preset_id: UUID) -> Response:
        """Queue a run with what the preset keeps, and with these values over that, and return it at once.

        With a webhook the values go to the pins of the graph's trigger: `payload` stands for an event.
        """
        sent: object = request.data
        body = ExecutePresetSerializer(data={} if sent is None else sent)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        trigger = trigger_of(idempotency_key_of(request), "execute-preset", preset_id, asked)
        run = start_preset(
            find_preset(user_of(request), preset_id),
            inputs=asked["inputs"],
            credential_inputs=asked["credential_inputs"],
            trigger_key=trigger.key,
            request_hash=trigger.request_hash,
            **limits_of(asked),
        )
        return Response(run_meta(run))
