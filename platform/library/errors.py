"""How keeping things to run again fails."""

from typing import ClassVar

from core.errors import Conflict, DomainError, Invalid, NotFound


class NoSuchPreset(NotFound):
    """There is no such preset, or it is not yours."""

    hint: ClassVar[str] = "GET /api/library/presets?graph_id= lists yours."


class TooManyPresets(Conflict):
    """The graph has as many presets as one graph may have."""

    hint: ClassVar[str] = "Delete those that are no longer needed."


class PresetTooLarge(Invalid):
    """The inputs of a preset are larger than they may be."""

    hint: ClassVar[str] = "Pass a reference to a large value, such as an address."


class RunNotKeepable(Invalid):
    """The run was given values for single nodes, by an event or a replay, and a preset keeps values for inputs only."""

    hint: ClassVar[str] = "Send graph_id, graph_version, inputs and credentials instead of graph_execution_id."


class GraphGone(DomainError):
    """There is no such version of a graph, or it is not yours."""

    status: ClassVar[int] = 410
    hint: ClassVar[str] = "GET /api/graphs lists your graphs."


class NoTrigger(Invalid):
    """No event can start this version of the graph: it has no trigger."""

    hint: ClassVar[str] = "Draw a block that is a trigger, such as GenericWebhookTrigger, and save the graph."


class TriggerConfigUnknown(Invalid):
    """The trigger of the graph does not take a value of this name."""

    hint: ClassVar[str] = "trigger_setup_info.config_schema of GET /api/graphs/{id} shows what it takes."


class WebhookUnfit(Invalid):
    """The webhook is for events that the trigger of the graph does not take."""

    hint: ClassVar[str] = "POST /api/library/presets/setup-trigger makes a webhook that fits."
