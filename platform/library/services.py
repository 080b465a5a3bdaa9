"""Decide about presets and change them; each function is one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from core import json
from graphs.errors import GraphNotFound
from graphs.interface import describe, trigger_of
from graphs.models import Graph, GraphVersion
from graphs.services import find_version, not_found
from integrations.errors import NoSuchWebhook
from integrations.models import Webhook
from integrations.services import create_webhook, prune_webhook
from library import runs
from library.errors import (
    GraphGone,
    NoSuchPreset,
    NoTrigger,
    PresetTooLarge,
    TooManyPresets,
    TriggerConfigUnknown,
    WebhookUnfit,
)
from library.models import Preset

MAX_PRESETS_PER_GRAPH = 500
MAX_INPUT_BYTES = 256 * 1024
# What a change of them can make a graph unable to run with.
_OF_RUN = {"graph_version", "inputs", "credentials"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetRequest:
    """What a preset is made with. Events at the webhook run it, if there is one."""

    graph_id: UUID
    graph_version: int
    name: str
    description: str
    inputs: Mapping[str, Any]
    credentials: Mapping[str, Any]
    is_active: bool = True
    webhook_id: UUID | None = None


def find_preset(user: User, preset_id: UUID) -> Preset:
    """A preset of the user; raises `NoSuchPreset`."""
    preset = Preset.objects.visible_to(user).filter(pk=preset_id).select_related("webhook").first()
    if preset is None:
        raise NoSuchPreset(preset_id=str(preset_id))
    return preset


@transaction.atomic
def create_preset(user: User, request: PresetRequest) -> Preset:
    """Keep values for runs of one of the user's graphs.

    They need not be all that a run needs: it may be given the rest. Events give nothing but themselves, so with a
    webhook a run has to be able to start. Raises `GraphNotFound`, `TooManyPresets`, `PresetTooLarge`, `NotStorable`;
    `NoSuchWebhook`, `NoTrigger` and `WebhookUnfit`, and what `start_run` raises for a run that could not start.
    """
    preset = _new(user, request)
    if request.webhook_id is not None:
        webhook = Webhook.objects.visible_to(user).filter(pk=request.webhook_id).locked().first()
        if webhook is None:
            raise NoSuchWebhook(webhook_id=str(request.webhook_id))
        if (webhook.provider, webhook.webhook_type) != _events_of(user, preset):
            raise WebhookUnfit
        preset.webhook = webhook
        runs.check(preset)
    preset.save()
    return preset


@transaction.atomic
def keep_run(user: User, run_id: UUID, *, name: str, description: str, is_active: bool = True) -> Preset:
    """Keep what a run was started with. Raises `NotFound`, `RunNotKeepable`, and what `create_preset` raises."""
    values = runs.values_of(user.pk, run_id)
    request = PresetRequest(
        graph_id=values.graph_id,
        graph_version=values.graph_version,
        name=name,
        description=description,
        inputs=values.inputs,
        credentials=values.credentials,
        is_active=is_active,
    )
    return create_preset(user, request)


@transaction.atomic
def set_up_trigger(user: User, request: PresetRequest) -> Preset:
    """Keep a preset together with a webhook that is made for it, whose events run it.

    Its inputs go to the pins of the graph's trigger. Raises `GraphGone`, `NoTrigger`, what `create_webhook` and
    `create_preset` raise, and what `start_run` raises for a run that could not start.
    """
    try:
        preset = _new(user, request)
    except GraphNotFound as error:
        raise GraphGone(error.message) from None
    provider, webhook_type = _events_of(user, preset)
    preset.webhook = create_webhook(user.pk, provider=provider, webhook_type=webhook_type)
    runs.check(preset)
    preset.save()
    return preset


@transaction.atomic
def change_preset(user: User, preset_id: UUID, changes: Mapping[str, Any]) -> Preset:
    """Change columns of a preset; runs that have started keep what they began with.

    Another version of the graph may be triggered by other events: then a webhook is made for those, and the one before
    goes unless something else needs it. Raises `NoSuchPreset`, and what `set_up_trigger` raises for such values.
    """
    preset = _locked(user, preset_id)
    for name, value in changes.items():
        setattr(preset, name, value)
    before = preset.webhook
    if _OF_RUN & changes.keys():
        _check_size(preset.inputs, preset.credentials)
        find_version(GraphVersion.objects.visible_to(user), preset.graph_id, preset.graph_version)
    if before is not None and (_OF_RUN & changes.keys() or changes.get("is_active")):
        events = _events_of(user, preset)
        runs.check(preset)
        if (before.provider, before.webhook_type) != events:
            preset.webhook = create_webhook(user.pk, provider=events[0], webhook_type=events[1])
    preset.save()
    if before is not None and before != preset.webhook:
        prune_webhook(before.pk)
    return preset


@transaction.atomic
def delete_preset(user: User, preset_id: UUID) -> None:
    """Delete a preset, and its webhook unless something else needs that; its runs stay. Raises `NoSuchPreset`."""
    preset = _locked(user, preset_id)
    webhook_id = preset.webhook_id
    preset.is_deleted, preset.webhook = True, None
    preset.save()
    if webhook_id is not None:
        prune_webhook(webhook_id)


def _new(user: User, request: PresetRequest) -> Preset:
    """A preset that is not saved. Its graph is locked, so that neither it goes nor others are made until the commit."""
    _check_size(request.inputs, request.credentials)
    graph = Graph.objects.visible_to(user).filter(pk=request.graph_id).locked().first()
    if graph is None or not graph.versions.filter(version=request.graph_version).exists():
        raise not_found(request.graph_id, request.graph_version)
    if Preset.objects.visible_to(user).filter(graph=graph).count() >= MAX_PRESETS_PER_GRAPH:
        raise TooManyPresets(f"The graph has {MAX_PRESETS_PER_GRAPH} presets, as many as one graph may have")
    return Preset(
        user=user,
        graph=graph,
        graph_version=request.graph_version,
        name=request.name,
        description=request.description,
        inputs=request.inputs,
        credentials=request.credentials,
        is_active=request.is_active,
    )


def _events_of(user: User, preset: Preset) -> tuple[str, str]:
    """Whose events, and which of their webhooks, start the preset's graph; the inputs are what that trigger takes.

    Raises `NoTrigger` and `TriggerConfigUnknown`.
    """
    version = find_version(GraphVersion.objects.visible_to(user), preset.graph_id, preset.graph_version)
    trigger = trigger_of(version.nodes.all())
    if trigger is None:
        raise NoTrigger
    _, block = trigger
    known = describe(version.nodes.all())["trigger_setup_info"]["config_schema"]["properties"]
    for pin in preset.inputs:
        if pin not in known:
            raise TriggerConfigUnknown(f"{block.name} takes no {pin!r}; it takes {', '.join(known) or 'nothing'}")
    return block.provider, block.webhook_type


def _check_size(inputs: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
    size = len(json.encode([inputs, credentials]))
    if size > MAX_INPUT_BYTES:
        raise PresetTooLarge(f"The inputs take {size:,} bytes as JSON; a preset keeps at most {MAX_INPUT_BYTES:,}")


def _locked(user: User, preset_id: UUID) -> Preset:
    preset = Preset.objects.visible_to(user).filter(pk=preset_id).select_related("webhook").locked().first()
    if preset is None:
        raise NoSuchPreset(preset_id=str(preset_id))
    return preset
