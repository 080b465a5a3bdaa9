"""The endpoints of buying credits and getting money back."""

from typing import Any, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import error_responses
from core.whole_numbers import WholeNumberField
from credits.models import RefundRequest, RefundStatus
from credits.payments import auto, events, portal, refunds

MOST_REQUESTS = 100
REFUND_STATUSES = ["PENDING", "APPROVED", "REJECTED"]
_STATUS_OF = {
    RefundStatus.WAITING: "PENDING",
    RefundStatus.SENDING: "PENDING",
    RefundStatus.REFUNDED: "APPROVED",
    RefundStatus.REJECTED: "REJECTED",
    RefundStatus.FAILED: "REJECTED",
}
_MOST = 2**53


class PurchaseSerializer(serializers.Serializer[Any]):
    """How much to buy."""

    credit_amount = WholeNumberField(
        min_value=-_MOST, max_value=_MOST, help_text="At least 500, in steps of 100. One credit is one US cent."
    )


class CheckoutSerializer(serializers.Serializer[Any]):
    """Where to pay."""

    checkout_url = serializers.CharField(allow_blank=True, help_text="Empty while credits are disabled.")


class PortalSerializer(serializers.Serializer[Any]):
    """Where cards and receipts are."""

    url = serializers.CharField()


class AutoTopUpSerializer(serializers.Serializer[Any]):
    """When credits are bought automatically, and how many."""

    threshold = WholeNumberField(min_value=-_MOST, max_value=_MOST, help_text="Buy when fewer credits are left.")
    amount = WholeNumberField(
        min_value=-_MOST, max_value=_MOST, help_text="0 for never, or at least 500 and no less than the threshold."
    )


class RefundWishSerializer(serializers.Serializer[Any]):
    """What to refund and why."""

    reason = serializers.CharField(max_length=2000, allow_blank=True, default="")
    amount = WholeNumberField(
        min_value=-_MOST, max_value=_MOST, required=False, help_text="Cents; absent: all that is left of the top-up."
    )


class RefundRequestSerializer(serializers.Serializer[Any]):
    """A wish for a refund, and what became of it."""

    id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    transaction_key = serializers.CharField()
    amount = serializers.IntegerField(help_text="Cents.")
    reason = serializers.CharField()
    result = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(REFUND_STATUSES)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


def user_of(request: Request) -> User:
    """Who asks."""
    return cast(User, request.user)


class PortalView(APIView):
    """The way to one's cards."""

    @extend_schema(
        tags=["credits"],
        operation_id="get_billing_portal",
        summary="Get the address of the page with your cards and receipts",
        responses={200: PortalSerializer, **error_responses(400, 401, 503)},
    )
    def get(self, request: Request) -> Response:
        """Return an address at Stripe that is good for a few minutes."""
        return Response({"url": portal.portal_url(user_of(request))})


class AutoTopUpView(APIView):
    """Buying without being asked."""

    throttle_scope = "payments"

    @extend_schema(
        tags=["credits"],
        operation_id="get_auto_top_up",
        summary="Tell when credits are bought automatically",
        responses={200: AutoTopUpSerializer, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """Return the threshold and the amount; both are 0 until chosen."""
        threshold, amount = auto.configured(user_of(request))
        return Response({"threshold": threshold, "amount": amount})

    @extend_schema(
        tags=["credits"],
        operation_id="configure_auto_top_up",
        summary="Have credits bought automatically, or no more",
        request=AutoTopUpSerializer,
        responses={200: OpenApiTypes.STR, **error_responses(400, 401, 409, 413, 415, 422, 503)},
    )
    def post(self, request: Request) -> Response:
        """Charge the saved card now if the balance is below the threshold, or check it for nothing; then keep this."""
        body = AutoTopUpSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        auto.configure(user_of(request), **body.validated_data)
        return Response("Auto top-up settings updated")


class RefundView(APIView):
    """Where money is asked back."""

    throttle_scope = "payments"

    @extend_schema(
        tags=["credits"],
        operation_id="ask_refund",
        summary="Ask for a refund of a top-up",
        request=RefundWishSerializer,
        responses={200: OpenApiTypes.INT, **error_responses(400, 401, 404, 413, 415, 422, 503)},
    )
    def post(self, request: Request, transaction_key: str) -> Response:
        """Return the cents that were sent back, or 0 when a person decides first."""
        body = RefundWishSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        return Response(refunds.ask_refund(user_of(request), transaction_key, asked["reason"], asked.get("amount")))


class RefundsView(APIView):
    """What was asked back."""

    @extend_schema(
        tags=["credits"],
        operation_id="list_refunds",
        summary="List your refund requests",
        responses={200: RefundRequestSerializer(many=True), **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """Return your newest hundred, newest first."""
        mine = RefundRequest.objects.visible_to(user_of(request)).select_related("top_up")
        newest = mine.order_by("-created_at", "-pk")[:MOST_REQUESTS]
        return Response([RefundRequestSerializer(_told(asked)).data for asked in newest])


class StripeWebhookView(APIView):
    """Where Stripe tells its news."""

    authentication_classes = ()
    # Stripe sends from few addresses and much at once; what it did not sign costs no more than a hash.
    throttle_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        tags=["credits"],
        operation_id="receive_stripe_event",
        summary="Take an event from Stripe",
        request={"application/json": OpenApiTypes.OBJECT},
        parameters=[OpenApiParameter("Stripe-Signature", str, OpenApiParameter.HEADER, required=True)],
        responses={200: None, **error_responses(400, 503, throttled=False)},
    )
    def post(self, request: Request) -> Response:
        """Act on the event once; the signature counts for the body as it came, byte for byte."""
        events.receive(request._request.body, request.headers.get("Stripe-Signature", ""))
        return Response()


def _told(asked: RefundRequest) -> dict[str, Any]:
    return {
        "id": asked.pk,
        "user_id": asked.user_id,
        "transaction_key": asked.top_up.key,
        "amount": asked.amount,
        "reason": asked.reason,
        "result": asked.result or None,
        "status": _STATUS_OF[RefundStatus(asked.status)],
        "created_at": asked.created_at,
        "updated_at": asked.updated_at,
    }
