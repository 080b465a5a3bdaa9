"""The endpoints for those who have no password yet, or want another."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import passwords
from accounts.impersonation import Acting
from accounts.models import User
from accounts.services import Session
from core.api import error_responses

_ANYBODY = error_responses(413, 415, 422)


class _Password(serializers.CharField):
    def __init__(self) -> None:
        super().__init__(max_length=1024, trim_whitespace=False)


class RegistrationSerializer(serializers.Serializer[Any]):
    """Who wants an account."""

    email = serializers.EmailField(max_length=254)
    password = _Password()
    name = serializers.CharField(max_length=150, required=False, allow_blank=True)


class LinkSerializer(serializers.Serializer[Any]):
    """The token of a link in a mail."""

    token = serializers.CharField(max_length=1000)


class ForgottenSerializer(serializers.Serializer[Any]):
    """Whose password is forgotten."""

    email = serializers.EmailField(max_length=254)


class ResetSerializer(LinkSerializer):
    """The token of a link in a mail, and the password to have from now on."""

    password = _Password()


class PasswordSerializer(serializers.Serializer[Any]):
    """The password so far, and the one to have from now on."""

    password = _Password()
    new_password = _Password()


class RegisterView(APIView):
    """The way to an account."""

    throttle_scope = "mails"
    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="register",
        summary="Register an address; a mail says how to go on",
        request=RegistrationSerializer,
        responses={202: None, **error_responses(400), **_ANYBODY},
    )
    def post(self, request: Request) -> Response:
        """Accept, whether the address has an account or not."""
        passwords.register(**_checked(RegistrationSerializer, request))
        return Response(status=202)


class VerifyView(APIView):
    """Where the link of a registration leads."""

    throttle_scope = "proofs"
    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="verify_email",
        summary="Prove an address with the token of the mail",
        request=LinkSerializer,
        responses={204: None, **error_responses(400), **_ANYBODY},
    )
    def post(self, request: Request) -> Response:
        """Let the owner of the address log in."""
        passwords.verify(**_checked(LinkSerializer, request))
        return Response(status=204)


class ForgotView(APIView):
    """The way back in."""

    throttle_scope = "mails"
    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="forgot_password",
        summary="Ask for a mail to choose another password with",
        request=ForgottenSerializer,
        responses={202: None, **_ANYBODY},
    )
    def post(self, request: Request) -> Response:
        """Accept, whether the address has an account or not."""
        passwords.forgot(**_checked(ForgottenSerializer, request))
        return Response(status=202)


class ResetView(APIView):
    """Where the link to choose another password leads."""

    throttle_scope = "proofs"
    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="reset_password",
        summary="Set another password with the token of the mail",
        request=ResetSerializer,
        responses={204: None, **error_responses(400), **_ANYBODY},
    )
    def post(self, request: Request) -> Response:
        """Set the password, and end all logins."""
        passwords.reset(**_checked(ResetSerializer, request))
        return Response(status=204)


class PasswordView(APIView):
    """The caller's password."""

    throttle_scope = "sign_in"
    acting = Acting.REFUSED

    @extend_schema(
        tags=["auth"],
        operation_id="change_password",
        summary="Set another password, and end all other logins",
        request=PasswordSerializer,
        responses={204: None, **error_responses(400, 401, 403), **_ANYBODY},
    )
    def post(self, request: Request) -> Response:
        """Set the password; the login that asks goes on."""
        body = _checked(PasswordSerializer, request)
        keep = request.auth.login_id if isinstance(request.auth, Session) else None
        passwords.change(cast(User, request.user).pk, body["password"], body["new_password"], keep=keep)
        return Response(status=204)


def _checked(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = serializer(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)
