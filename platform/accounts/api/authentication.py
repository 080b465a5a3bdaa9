"""The user behind a request."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import Token

from accounts import services
from accounts.errors import NotAuthenticated
from accounts.models import User


class TokenAuthentication(JWTAuthentication):
    """Reads `Authorization: Bearer <access token>`; the token's owner must exist and be switched on."""

    # The library's own type covers only its stand-in for a user and Django's.
    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]
        """The token's owner; raises `AuthenticationFailed`."""
        try:
            return services.owner_of(validated_token)
        except NotAuthenticated as error:
            raise AuthenticationFailed(error.message, error.code) from None


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the tokens."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        """A bearer token that is a JWT."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
