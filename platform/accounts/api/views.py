"""The endpoints about people."""

from typing import cast

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import services, tickets
from accounts.api.authentication import TokenAuthentication
from accounts.api.serializers import (
    LoginSerializer,
    LogoutSerializer,
    RefreshSerializer,
    TicketSerializer,
    TokensSerializer,
    UserSerializer,
)
from accounts.errors import NotAuthenticated
from accounts.impersonation import Acting
from accounts.models import User
from accounts.ticketed import session_behind
from core.api import error_responses


class LoginView(APIView):
    """The way in."""

    throttle_scope = "sign_in"
    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="log_in",
        summary="Log in with email and password",
        request=LoginSerializer,
        responses={200: TokensSerializer, **error_responses(401, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Trade an email and a password for tokens."""
        login = LoginSerializer(data=request.data)
        login.is_valid(raise_exception=True)
        return Response(TokensSerializer(services.log_in(**login.validated_data)).data)


class RefreshView(APIView):
    """The way to stay in."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="refresh_token",
        summary="Get the next pair of tokens",
        request=RefreshSerializer,
        responses={200: TokensSerializer, **error_responses(401, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Trade a refresh token for new tokens."""
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(TokensSerializer(services.refresh(body.validated_data["refresh"])).data)


class LogoutView(APIView):
    """The way out."""

    # An access token that has expired must not keep the refresh token in the body from ending its login.
    authentication_classes = ()
    permission_classes = [AllowAny]
    acting = Acting.IGNORED

    @extend_schema(
        tags=["auth"],
        operation_id="log_out",
        summary="End a login with all of its tokens",
        request=LogoutSerializer,
        responses={204: None, **error_responses(401, 409, 413, 415, 422, 503)},
    )
    def post(self, request: Request) -> Response:
        """End the login of the refresh token in the body, or else of the access token in the header."""
        body = LogoutSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if "refresh" in body.validated_data:
            services.log_out_by(body.validated_data["refresh"])
        else:
            found = TokenAuthentication().authenticate(request)
            if found is None:
                raise NotAuthenticated
            services.log_out(found[1])
        return Response(status=204)


class TicketView(APIView):
    """Where tickets come from."""

    @extend_schema(
        tags=["auth"],
        operation_id="get_ticket",
        summary="Get a ticket for a socket or stream",
        request=None,
        responses={200: TicketSerializer, **error_responses(401)},
    )
    def post(self, request: Request) -> Response:
        """Return what opens one WebSocket or event stream in place of the token, once and within 30 seconds."""
        ticket = tickets.issue(session_behind(request))
        return Response({"ticket": ticket, "expires_in": tickets.TICKET_SECONDS})


class UserView(APIView):
    """The caller, whomever they act as."""

    acting = Acting.IGNORED

    @extend_schema(
        tags=["auth"],
        operation_id="get_user",
        summary="Get the user behind the token",
        request=None,
        responses={200: UserSerializer, **error_responses(401)},
    )
    def post(self, request: Request) -> Response:
        """Return the caller's own record."""
        return Response(UserSerializer(cast(User, request.user)).data)
