"""Where events from outside come in. `integrations` knows whom they are from; here they start runs."""

from uuid import UUID

from django.http import JsonResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from core.api import error_responses
from core.errors import DomainError
from core.throttles import check_stranger, check_webhook
from executions import webhooks
from integrations.errors import PayloadTooLarge
from integrations.kinds import Event
from integrations.models import Webhook
from integrations.services import MAX_PAYLOAD_BYTES, find_webhook, verify

_NAMES = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER, description=meaning)
    for name, meaning in {
        "X-GitHub-Event": "GitHub's: what happened.",
        "X-GitHub-Delivery": "GitHub's: the id of this delivery, which counts once.",
        "X-Hub-Signature-256": "GitHub's: the signature.",
        "webhook-id": "Anybody else's: the id of this delivery, which counts once.",
        "webhook-timestamp": "When it was signed, in seconds since 1970.",
        "webhook-signature": "The signature, where the webhook asks for one.",
        "Idempotency-Key": "The id of this delivery where there is no webhook-id.",
    }.items()
]


class IngressView(APIView):
    """Where a provider tells its news."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    # What cannot be verified counts against its address, all else against its webhook: nobody who does not know the
    # secret uses up what its provider may send.
    throttle_classes = ()

    @extend_schema(
        tags=["integrations"],
        operation_id="receive_delivery",
        summary="Take an event from a provider, and run the presets of the webhook",
        request={"application/json": OpenApiTypes.OBJECT},
        parameters=_NAMES,
        responses={
            200: OpenApiResponse({"type": "null"}, "It is kept, and starts its runs once."),
            **error_responses(400, 403, 404, 413, 415, 422, 503),
        },
    )
    def post(self, request: Request, provider: str, webhook_id: UUID) -> JsonResponse:
        """Answer once the event is kept; the signature counts for the body as it came, byte for byte."""
        try:
            webhook, event = _verified(request, provider, webhook_id)
        except DomainError:
            check_stranger(request)
            raise
        check_webhook(request, webhook_id)
        webhooks.receive(webhook, event)
        # REST framework would answer None with an empty body, which is not JSON.
        return JsonResponse(None, safe=False)


def _verified(request: Request, provider: str, webhook_id: UUID) -> tuple[Webhook, Event]:
    webhook = find_webhook(provider, webhook_id)
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if announced.isdigit() and int(announced) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge
    return webhook, verify(webhook, request.headers, request._request.body)
