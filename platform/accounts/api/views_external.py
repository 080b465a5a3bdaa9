"""The endpoints about people in the external API."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.external import ExternalView
from accounts.models import ApiKeyPermission, User
from core.api import error_responses


class IdentitySerializer(serializers.Serializer[Any]):
    """Whose key it is."""

    id = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True)
    email = serializers.EmailField()
    timezone = serializers.CharField(source="time_zone", help_text="An IANA name, or `not-set` until chosen.")


class MeView(ExternalView):
    """Whoever the key speaks for."""

    needs = ApiKeyPermission.IDENTITY

    @extend_schema(
        tags=["external"],
        operation_id="external_get_me",
        summary="Get the owner of the key",
        responses={200: IdentitySerializer, **error_responses(401, 403)},
    )
    def get(self, request: Request) -> Response:
        """Return who the key's owner is; needs `IDENTITY`."""
        return Response(IdentitySerializer(cast(User, request.user)).data)
