"""The endpoints of API keys."""

from typing import cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys
from accounts.api.serializers_keys import (
    ApiKeySerializer,
    BudgetSerializer,
    CreateApiKeySerializer,
    CreatedApiKeySerializer,
    PermissionsSerializer,
)
from accounts.models import ApiKey, User
from core.api import error_responses
from core.paging import Paging, page_headers, page_parameters

MOST_KEYS = 500


def _user(request: Request) -> User:
    return cast(User, request.user)


def _answer(key: ApiKey) -> Response:
    return Response(ApiKeySerializer(key).data)


class ApiKeysView(APIView):
    """The caller's API keys."""

    @extend_schema(
        tags=["api-keys"],
        operation_id="list_api_keys",
        summary="List your API keys",
        parameters=page_parameters(default=MOST_KEYS, maximum=MOST_KEYS),
        responses={200: ApiKeySerializer(many=True), **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Newest first, revoked ones too.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        paging = Paging.of(request, default=MOST_KEYS, maximum=MOST_KEYS)
        page, pagination = paging.cut(ApiKey.objects.visible_to(_user(request)).order_by("-created_at", "-pk"))
        return Response(ApiKeySerializer(page, many=True).data, headers=page_headers(pagination))

    @extend_schema(
        tags=["api-keys"],
        operation_id="create_api_key",
        summary="Make an API key",
        request=CreateApiKeySerializer,
        responses={200: CreatedApiKeySerializer, **error_responses(401, 409, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Make a key for a program; only this answer has it whole."""
        body = CreateApiKeySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        key, text = keys.create_key(_user(request), **body.validated_data)
        return Response({"api_key": ApiKeySerializer(key).data, "plain_text_key": text})


class ApiKeyView(APIView):
    """One API key."""

    @extend_schema(
        tags=["api-keys"],
        operation_id="get_api_key",
        summary="Get an API key",
        responses={200: ApiKeySerializer, **error_responses(401, 404)},
    )
    def get(self, request: Request, key_id: UUID) -> Response:
        """Return the key without its secret."""
        return _answer(keys.own_key(_user(request), key_id))

    @extend_schema(
        tags=["api-keys"],
        operation_id="revoke_api_key",
        summary="Revoke an API key",
        responses={200: ApiKeySerializer, **error_responses(401, 404)},
    )
    def delete(self, request: Request, key_id: UUID) -> Response:
        """Refuse the key from its next request on, for good; it stays in the list."""
        return _answer(keys.revoke(_user(request), key_id))


class SuspendView(APIView):
    """Where keys are suspended."""

    @extend_schema(
        tags=["api-keys"],
        operation_id="suspend_api_key",
        summary="Suspend an API key",
        request=None,
        responses={200: ApiKeySerializer, **error_responses(401, 404, 409)},
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """Refuse the key from its next request on, until it is resumed."""
        return _answer(keys.suspend(_user(request), key_id))


class ResumeView(APIView):
    """Where suspended keys are accepted again."""

    @extend_schema(
        tags=["api-keys"],
        operation_id="resume_api_key",
        summary="Resume a suspended API key",
        request=None,
        responses={200: ApiKeySerializer, **error_responses(401, 404, 409)},
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """Accept the key again, if it has not expired."""
        return _answer(keys.resume(_user(request), key_id))


class PermissionsView(APIView):
    """What a key may do."""

    @extend_schema(
        tags=["api-keys"],
        operation_id="set_api_key_permissions",
        summary="Replace the permissions of an API key",
        request=PermissionsSerializer,
        responses={200: ApiKeySerializer, **error_responses(401, 404, 409, 413, 415, 422)},
    )
    def put(self, request: Request, key_id: UUID) -> Response:
        """Replace what the key may do, from its next request on."""
        body = PermissionsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return _answer(keys.set_permissions(_user(request), key_id, body.validated_data["permissions"]))


class BudgetView(APIView):
    """What the runs of a key may use."""

    @extend_schema(
        tags=["api-keys"],
        operation_id="set_api_key_budget",
        summary="Set what all runs started with an API key may use together",
        request=BudgetSerializer,
        responses={200: ApiKeySerializer, **error_responses(401, 404, 409, 413, 415, 422)},
    )
    def put(self, request: Request, key_id: UUID) -> Response:
        """Set the key's `max_credits`, from its next request on; it cannot be less than what its runs have taken."""
        body = BudgetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return _answer(keys.set_budget(_user(request), key_id, body.validated_data["max_credits"]))
