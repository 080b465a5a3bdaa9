"""The endpoints of presets. What runs them is in `executions.api`."""

from collections.abc import Mapping
from typing import cast
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import checked_query, error_responses
from core.paging import Paging, page_parameters
from library import services
from library.api.serializers import (
    LibraryAgentPresetSerializer,
    PresetChangeSerializer,
    PresetCreationSerializer,
    PresetOfRunSerializer,
    PresetsPageSerializer,
    PresetsQuerySerializer,
    TriggerSetupSerializer,
)
from library.models import Preset
from library.services import PresetRequest

PAGE_SIZE = 10
_CREATION = PolymorphicProxySerializer(
    "PresetCreationOrRun", [PresetCreationSerializer, PresetOfRunSerializer], resource_type_field_name=None
)


def _user(request: Request) -> User:
    return cast(User, request.user)


def _answer(preset: Preset) -> Response:
    return Response(LibraryAgentPresetSerializer(preset).data)


class PresetsView(APIView):
    """The caller's presets."""

    @extend_schema(
        tags=["presets"],
        operation_id="list_presets",
        summary="List your presets",
        parameters=[
            OpenApiParameter("graph_id", UUID, required=True, description="Of which graph; empty for those of all."),
            *page_parameters(default=PAGE_SIZE),
        ],
        responses={200: PresetsPageSerializer, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Return a page of presets, newest first."""
        graph_id = checked_query(PresetsQuerySerializer, request)["graph_id"]
        presets = Preset.objects.visible_to(_user(request)).select_related("webhook")
        if graph_id is not None:
            presets = presets.filter(graph=graph_id)
        page, pagination = Paging.of(request, default=PAGE_SIZE).cut(presets.order_by("-created_at", "-pk"))
        return Response({"presets": LibraryAgentPresetSerializer(page, many=True).data, "pagination": pagination})

    @extend_schema(
        tags=["presets"],
        operation_id="create_preset",
        summary="Keep values for runs of a graph",
        request=_CREATION,
        responses={200: LibraryAgentPresetSerializer, **error_responses(400, 401, 404, 409, 413, 415, 422, 503)},
    )
    def post(self, request: Request) -> Response:
        """Keep these values, or with `graph_execution_id` those that a run was started with, and return the preset."""
        sent = request.data
        if isinstance(sent, Mapping) and "graph_execution_id" in sent:
            run = PresetOfRunSerializer(data=sent)
            run.is_valid(raise_exception=True)
            asked = run.validated_data
            return _answer(services.keep_run(_user(request), asked.pop("graph_execution_id"), **asked))
        body = PresetCreationSerializer(data=sent)
        body.is_valid(raise_exception=True)
        return _answer(services.create_preset(_user(request), PresetRequest(**body.validated_data)))


class SetUpTriggerView(APIView):
    """Where presets get webhooks."""

    @extend_schema(
        tags=["presets"],
        operation_id="set_up_trigger",
        summary="Run a graph when something happens elsewhere",
        request=TriggerSetupSerializer,
        responses={200: LibraryAgentPresetSerializer, **error_responses(400, 401, 409, 410, 413, 415, 422, 503)},
    )
    def post(self, request: Request) -> Response:
        """Make a webhook for the graph's trigger and a preset that its events run; `webhook.url` is its address."""
        body = TriggerSetupSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        preset = services.set_up_trigger(
            _user(request),
            PresetRequest(
                graph_id=asked["graph_id"],
                graph_version=asked["graph_version"],
                name=asked["name"],
                description=asked["description"],
                inputs=asked["trigger_config"],
                credentials=asked["agent_credentials"],
            ),
        )
        return _answer(preset)


class PresetView(APIView):
    """One preset."""

    @extend_schema(
        tags=["presets"],
        operation_id="get_preset",
        summary="Get a preset",
        responses={200: LibraryAgentPresetSerializer, **error_responses(401, 404)},
    )
    def get(self, request: Request, preset_id: UUID) -> Response:
        """Return the preset, active or not."""
        return _answer(services.find_preset(_user(request), preset_id))

    @extend_schema(
        tags=["presets"],
        operation_id="update_preset",
        summary="Change a preset",
        request=PresetChangeSerializer(partial=True),
        responses={200: LibraryAgentPresetSerializer, **error_responses(400, 401, 404, 409, 413, 415, 422, 503)},
    )
    def patch(self, request: Request, preset_id: UUID) -> Response:
        """Change what the body names, and return the preset; `inputs` and `credentials` are sent together."""
        body = PresetChangeSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        return _answer(services.change_preset(_user(request), preset_id, body.validated_data))

    @extend_schema(
        tags=["presets"],
        operation_id="delete_preset",
        summary="Delete a preset",
        responses={204: None, **error_responses(401, 404)},
    )
    def delete(self, request: Request, preset_id: UUID) -> Response:
        """Delete the preset, and its webhook unless another preset has it; the runs that it started stay."""
        services.delete_preset(_user(request), preset_id)
        return Response(status=204)
