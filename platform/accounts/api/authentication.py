"""The user behind a request."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import services
from accounts.errors import TokenRefused
from accounts.models import User
from accounts.services import Session


class TokenAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer <access token>`; the token's owner must exist and be switched on."""

    def authenticate(self, request: Request) -> tuple[User, Session] | None:
        """The token's owner, and the session; None without a bearer token. Raises `TokenRefused`."""
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        if not token or not token.isascii() or " " in token:
            raise TokenRefused
        session = services.session_of(token)
        return session.user, session

    def authenticate_header(self, request: Request) -> str:
        """What a refused request should have brought."""
        return 'Bearer realm="api"'


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the tokens."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        """A bearer token that is a JWT."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
