"""What presets look like on the wire."""

from typing import Any

from rest_framework import serializers

from core.paging import PaginationSerializer
from integrations.placeholders import CredentialsMetaInputSerializer
from integrations.reading import WebhookSerializer
from library.models import NAME_LENGTH, Preset

DESCRIPTION_LENGTH = 5000
_MOST_VERSIONS = 2_147_483_647
_INPUTS = "Values for the graph's inputs by their names; with a webhook, for the pins of its trigger."
_CREDENTIALS = "Which credentials to use, by the names of the graph's credentials_input_schema."


class _NamedSerializer(serializers.Serializer[Any]):
    """How a preset is called."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, allow_blank=True)
    is_active = serializers.BooleanField(default=True, help_text="Whether events of its webhook run it.")


class PresetCreationSerializer(_NamedSerializer):
    """A preset with these values."""

    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField(min_value=1, max_value=_MOST_VERSIONS)
    inputs = serializers.DictField(help_text=_INPUTS)
    credentials = serializers.DictField(child=CredentialsMetaInputSerializer(), help_text=_CREDENTIALS)
    webhook_id = serializers.UUIDField(default=None, allow_null=True, help_text="A webhook of yours that runs it.")


class PresetOfRunSerializer(_NamedSerializer):
    """A preset with the values that a run was started with."""

    graph_execution_id = serializers.UUIDField()

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The run says all of it."""
        for name in ("graph_id", "graph_version", "inputs", "credentials", "webhook_id"):
            if name in self.initial_data:
                raise serializers.ValidationError({name: ["Input should come without graph_execution_id, or be left"]})
        return asked


class PresetChangeSerializer(_NamedSerializer):
    """What of a preset to change; what is left out stays."""

    graph_version = serializers.IntegerField(min_value=1, max_value=_MOST_VERSIONS)
    inputs = serializers.DictField(help_text=_INPUTS)
    credentials = serializers.DictField(child=CredentialsMetaInputSerializer(), help_text=_CREDENTIALS)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Inputs and credentials belong together."""
        for name, other in (("inputs", "credentials"), ("credentials", "inputs")):
            if name in asked and other not in asked:
                raise serializers.ValidationError({other: [f"This field is required together with {name}."]})
        return asked


class TriggerSetupSerializer(serializers.Serializer[Any]):
    """A preset whose webhook is made along with it."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, allow_blank=True, default="")
    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField(min_value=1, max_value=_MOST_VERSIONS)
    trigger_config = serializers.DictField(
        help_text="Values for the trigger, after trigger_setup_info.config_schema of the graph."
    )
    agent_credentials = serializers.DictField(
        child=CredentialsMetaInputSerializer(), default=dict, help_text=_CREDENTIALS
    )


class LibraryAgentPresetSerializer(serializers.ModelSerializer[Preset]):
    """A preset."""

    graph_id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    inputs = serializers.DictField()
    credentials = serializers.DictField(child=CredentialsMetaInputSerializer())
    webhook_id = serializers.UUIDField(allow_null=True)
    webhook = WebhookSerializer(allow_null=True)

    class Meta:
        model = Preset
        fields = (
            "id", "user_id", "created_at", "updated_at", "graph_id", "graph_version", "name", "description", "inputs",
            "credentials", "is_active", "webhook_id", "webhook",
        )  # fmt: skip


class PresetsPageSerializer(serializers.Serializer[Any]):
    """A page of presets."""

    presets = LibraryAgentPresetSerializer(many=True)
    pagination = PaginationSerializer()


class PresetsQuerySerializer(serializers.Serializer[Any]):
    """Which presets to list."""

    graph_id = serializers.UUIDField(allow_null=True)
