"""The user behind a request."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import impersonation, services
from accounts.errors import NotWhileImpersonating, TokenRefused
from accounts.impersonation import Acting
from accounts.models import User
from accounts.services import Session

ACT_AS = "X-Act-As-User-Id"


class TokenAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer <access token>`; the token's owner must exist and be switched on.

    An administrator's request may be somebody else's by the header `X-Act-As-User-Id`, which is on record before it is
    answered, unless the view says otherwise in its `acting`.
    """

    def authenticate(self, request: Request) -> tuple[User, Session] | None:
        """Whom the request is from, and the session; None without a bearer token.

        Raises `TokenRefused`, and for the header `ImpersonationRefused`, `NotWhileImpersonating` and `NoSuchUser`.
        """
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        if not token or not token.isascii() or " " in token:
            raise TokenRefused
        session = services.session_of(token)
        return self._acting(session.user, request), session

    def _acting(self, user: User, request: Request) -> User:
        acted_as = request.headers.get(ACT_AS)
        acting = getattr((request.parser_context or {}).get("view"), "acting", Acting.ALLOWED)
        if acted_as is None or acting is Acting.IGNORED:
            return user
        if acting is Acting.REFUSED:
            raise NotWhileImpersonating
        # The query stays off the record: it may hold what nobody else should read.
        return impersonation.act_as(user, acted_as.strip(), method=str(request.method), path=request.path)

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
