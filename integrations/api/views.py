"""The endpoints of webhooks. What they are told of comes in by `executions.api`, where it starts runs."""

from typing import Any, cast
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import error_responses
from core.paging import (
    CursorPaginationSerializer,
    CursorPaging,
    PaginationSerializer,
    Paging,
    cursor_parameters,
    page_parameters,
)
from core.throttles import check_webhook
from integrations import services
from integrations.models import Delivery, Webhook
from integrations.reading import WebhookSerializer


class WebhookChangeSerializer(serializers.Serializer[Any]):
    """What to change of a webhook."""

    signed = serializers.BooleanField(help_text="Whether it takes signed deliveries only.")


class WebhooksSerializer(serializers.Serializer[Any]):
    """A page of webhooks."""

    webhooks = WebhookSerializer(many=True)
    pagination = PaginationSerializer()


class OutcomeSerializer(serializers.Serializer[Any]):
    """What a delivery led to for one preset."""

    preset_id = serializers.UUIDField()
    run_id = serializers.UUIDField(allow_null=True)
    reason = serializers.CharField(allow_blank=True, help_text="Why there is no run.")


class DeliverySerializer(serializers.Serializer[Any]):
    """One event as it came in."""

    id = serializers.UUIDField()
    delivery_id = serializers.CharField(help_text="What its sender calls it.")
    event = serializers.CharField()
    received_at = serializers.DateTimeField()
    taken_up_at = serializers.DateTimeField(allow_null=True, help_text="Null while nobody has acted on it.")
    outcomes = OutcomeSerializer(many=True)


class DeliveriesSerializer(serializers.Serializer[Any]):
    """A page of what came in."""

    deliveries = DeliverySerializer(many=True)
    pagination = CursorPaginationSerializer()


def user_of(request: Request) -> User:
    """Who asks."""
    return cast(User, request.user)


class WebhooksView(APIView):
    """Your webhooks."""

    @extend_schema(
        tags=["integrations"],
        operation_id="list_webhooks",
        summary="List your webhooks, with their addresses and secrets",
        parameters=page_parameters(),
        responses={200: WebhooksSerializer, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Newest first."""
        webhooks = Webhook.objects.visible_to(user_of(request)).order_by("-created_at", "-pk")
        page, pagination = Paging.of(request).cut(webhooks)
        return Response(WebhooksSerializer({"webhooks": page, "pagination": pagination}).data)


class WebhookView(APIView):
    """One webhook."""

    @extend_schema(
        tags=["integrations"],
        operation_id="get_webhook",
        summary="Show one of your webhooks, with its address and secret",
        responses={200: WebhookSerializer, **error_responses(401, 404)},
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Return it."""
        return Response(WebhookSerializer(services.webhook_of(user_of(request).pk, webhook_id)).data)

    @extend_schema(
        tags=["integrations"],
        operation_id="update_webhook",
        summary="Say whether a webhook takes signed deliveries only",
        request=WebhookChangeSerializer,
        responses={200: WebhookSerializer, **error_responses(401, 404, 409, 413, 415, 422)},
    )
    def patch(self, request: Request, webhook_id: UUID) -> Response:
        """It holds from the next delivery on."""
        body = WebhookChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        signed = body.validated_data["signed"]
        return Response(
            WebhookSerializer(services.require_signatures(user_of(request).pk, webhook_id, signed=signed)).data
        )


class RotateView(APIView):
    """The secret of one webhook."""

    @extend_schema(
        tags=["integrations"],
        operation_id="rotate_webhook_secret",
        summary="Give a webhook a new secret",
        request=None,
        responses={200: WebhookSerializer, **error_responses(401, 404)},
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """The secret before it is good for a day more."""
        return Response(WebhookSerializer(services.rotate_secret(user_of(request).pk, webhook_id)).data)


class PingView(APIView):
    """Whether somebody at the other end of one webhook answers."""

    @extend_schema(
        tags=["integrations"],
        operation_id="ping_webhook",
        summary="Ask the provider to send a test event",
        request=None,
        responses={200: OpenApiTypes.BOOL, **error_responses(401, 404)},
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """False: no provider can be asked from here."""
        webhook = services.webhook_of(user_of(request).pk, webhook_id)
        check_webhook(request, webhook.pk)
        return Response(data=False)


class DeliveriesView(APIView):
    """The inbox of one webhook."""

    @extend_schema(
        tags=["integrations"],
        operation_id="list_deliveries",
        summary="List what came in by a webhook and what it led to",
        parameters=cursor_parameters(),
        responses={200: DeliveriesSerializer, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Newest first."""
        webhook = services.webhook_of(user_of(request).pk, webhook_id)
        listed = Delivery.objects.of(webhook)
        page, pagination = CursorPaging.of(request).cut(listed)
        return Response(DeliveriesSerializer({"deliveries": page, "pagination": pagination}).data)
