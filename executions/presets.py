"""Runs of presets, and what presets ask about runs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from executions import services
from executions.errors import NoSuchRun
from executions.models import GraphExecution
from library.errors import NoTrigger, RunNotKeepable
from library.models import Preset
from library.runs import RunValues


def start_preset(
    preset: Preset,
    *,
    inputs: Mapping[str, Any] | None = None,
    credential_inputs: Mapping[str, Any] | None = None,
    **how: Any,
) -> GraphExecution:
    """Start a run of a preset with what it keeps, and with these values over that; `how` is for `start_run`.

    A preset with a webhook has all inputs on the pins of the graph's trigger, where an event comes as `payload`. What
    it was started from is shown with the run. Raises what `start_run` raises.
    """
    return services.start_run(
        preset.graph_id,
        preset.graph_version,
        user_id=preset.user_id,
        credential_inputs={**preset.credentials, **(credential_inputs or {})},
        preset_id=preset.pk,
        **_placed(preset, {**preset.inputs, **(inputs or {})}),
        **how,
    )


class PresetRuns:
    """Answers what presets ask; see `library.runs`."""

    def values_of(self, user_id: UUID, run_id: UUID) -> RunValues:
        """What a run of the user was started with; raises `NoSuchRun` and `RunNotKeepable`."""
        run = GraphExecution.objects.filter(pk=run_id, user=user_id, is_deleted=False).first()
        if run is None:
            raise NoSuchRun(run_id=str(run_id))
        if run.nodes_input_masks:
            raise RunNotKeepable
        return RunValues(run.graph_id, run.graph_version, run.inputs, run.credential_inputs)

    def check(self, preset: Preset) -> None:
        """Raise what `start_preset` would raise for an event, and start nothing."""
        services.check_run(
            preset.graph_id,
            preset.graph_version,
            user_id=preset.user_id,
            credential_inputs=preset.credentials,
            **_placed(preset, preset.inputs),
        )


def _placed(preset: Preset, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run, or the masks if the graph is started by events."""
    if preset.webhook_id is None:
        return {"inputs": inputs}
    trigger_id = services.trigger_node_of(preset.graph_id, preset.graph_version, user_id=preset.user_id)
    if trigger_id is None:
        raise NoTrigger
    return {"inputs": {}, "nodes_input_masks": {trigger_id: inputs}}
