"""The way into the external API: a program shows a key, and each operation asks for a permission."""

from typing import Any, ClassVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import keys
from accounts.models import ApiKeyPermission, User


class ApiKeyAuthentication(BaseAuthentication):
    """Reads `X-API-Key`. A header that is there and wrong is refused, whatever else the request shows."""

    def authenticate(self, request: Request) -> tuple[User, keys.Access] | None:
        """The key's owner, and what the key allows; raises `ApiKeyRefused`."""
        text = request.headers.get("X-API-Key")
        if text is None:
            return None
        access = keys.access_with(text)
        return access.user, access

    def authenticate_header(self, request: Request) -> str:
        """The other way in, for HTTP has no name for this one."""
        return "Bearer"


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the keys."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        """A key in a header."""
        return {"type": "apiKey", "in": "header", "name": "X-API-Key"}


class KeyAllows(BasePermission):
    """Whether a key has the permission that the view names; who shows a token of their own needs none."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """True, or `PermissionMissing` is raised."""
        if isinstance(request.auth, keys.Access):
            request.auth.check(ApiKeyPermission(view.needs))  # type: ignore[attr-defined]  # an ExternalView
        return True


class ExternalView(APIView):
    """What every view of the external API is: open to keys that have the permission which it `needs`, and to tokens."""

    needs: ClassVar[ApiKeyPermission]
    authentication_classes = (ApiKeyAuthentication, *APIView.authentication_classes)
    permission_classes = (IsAuthenticated, KeyAllows)
