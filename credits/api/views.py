"""The endpoints of balances."""

from typing import Any, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.impersonation import Acting
from accounts.models import User
from core.api import error_responses
from core.whole_numbers import WholeNumberField
from credits.adjustments import adjust
from credits.api.views_payments import CheckoutSerializer, PurchaseSerializer, user_of
from credits.balances import balance_of
from credits.kinds import CREDIT, MOST_CREDITS
from credits.payments import top_ups

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="A request that comes again with it moves nothing."
)


class BalanceSerializer(serializers.Serializer[Any]):
    """What you can spend."""

    credits = serializers.IntegerField(help_text="Whole credits, rounded down. One credit is one US cent.")


class AddCreditsSerializer(serializers.Serializer[Any]):
    """A change of somebody's balance."""

    user_id = serializers.UUIDField()
    amount = WholeNumberField(
        min_value=-MOST_CREDITS, max_value=MOST_CREDITS, help_text="Credits; below 0 to take some."
    )
    comments = serializers.CharField(max_length=2000, help_text="Why.")


class AddedCreditsSerializer(serializers.Serializer[Any]):
    """A balance that was changed."""

    new_balance = serializers.IntegerField()
    transaction_key = serializers.CharField()


class CreditsView(APIView):
    """The caller's balance, and how it grows."""

    throttle_scope = "payments"

    @extend_schema(
        tags=["credits"],
        operation_id="get_credits",
        summary="Get your balance",
        responses={200: BalanceSerializer, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """What you can spend; always 100 while credits are disabled on this server."""
        return Response({"credits": balance_of(cast(User, request.user).pk) // CREDIT})

    @extend_schema(
        tags=["credits"],
        operation_id="buy_credits",
        summary="Begin to buy credits",
        request=PurchaseSerializer,
        responses={200: CheckoutSerializer, **error_responses(400, 401, 413, 415, 422, 503)},
    )
    def post(self, request: Request) -> Response:
        """Return the address of a page at Stripe to pay on; the card is kept there for later."""
        body = PurchaseSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        url = top_ups.start_checkout(user_of(request), body.validated_data["credit_amount"])
        return Response({"checkout_url": url})

    @extend_schema(
        tags=["credits"],
        operation_id="confirm_purchase",
        summary="Credit what you paid for",
        request=None,
        responses={200: None, **error_responses(401, 503)},
    )
    def patch(self, request: Request) -> Response:
        """Ask Stripe about what you began to buy lately. Stripe tells by itself as well; credits come once."""
        top_ups.confirm(user_of(request))
        return Response()


class AddCreditsView(APIView):
    """Where administrators change balances."""

    permission_classes = (IsAdminUser,)
    # Nobody is the second administrator as well.
    acting = Acting.REFUSED

    @extend_schema(
        tags=["admin-credits"],
        operation_id="add_credits",
        summary="Give a user credits, or take some",
        request=AddCreditsSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: AddedCreditsSerializer, **error_responses(400, 401, 403, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Change the balance at once, or keep the wish for another administrator if it is large."""
        body = AddCreditsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        posted, key = adjust(
            cast(User, request.user),
            asked["user_id"],
            asked["amount"] * CREDIT,
            reason=asked["comments"],
            request_key=request.headers.get("Idempotency-Key", ""),
        )
        return Response({"new_balance": posted.balance // CREDIT, "transaction_key": key})
