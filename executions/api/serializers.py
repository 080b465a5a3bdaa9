"""What the endpoints of runs take and give."""

from typing import Any

from rest_framework import serializers

from core.choices import OneOfField
from core.idempotency import KEY, KEY_RULE, LONGEST_KEY
from core.paging import CursorPaginationSerializer, PaginationSerializer
from core.whole_numbers import WholeNumberField
from credits.kinds import MOST_CREDITS
from executions.kinds import NodeStatus, Status
from executions.new_runs import NODE_BUDGET
from integrations.placeholders import CredentialsMetaInputSerializer

MAX_BATCH = 1000

# Runs and activations share the contract's one set of names.
STATUSES = list(dict.fromkeys(status.wire for status in (*Status, *NodeStatus)))


class LimitsSerializer(serializers.Serializer[Any]):
    """What a run may use, and whether it shall have effects."""

    node_budget = serializers.IntegerField(
        min_value=1,
        max_value=10_000_000,
        default=NODE_BUDGET,
        help_text="How many activations may begin before the run is ended as FAILED, node_budget_exceeded.",
    )
    output_budget = serializers.IntegerField(
        min_value=1,
        max_value=100_000_000,
        default=None,
        allow_null=True,
        help_text="How many outputs its nodes may give before it is ended as FAILED, output_budget_exceeded.",
    )
    max_credits = WholeNumberField(
        min_value=1,
        max_value=MOST_CREDITS,
        default=None,
        allow_null=True,
        help_text="The most that it and what it calls may use before it is ended as FAILED, budget_exceeded.",
    )
    timeout_seconds = serializers.FloatField(
        min_value=1,
        max_value=366 * 86_400,
        default=None,
        allow_null=True,
        help_text="After how long the run is ended as FAILED, deadline_exceeded.",
    )
    dry_run = serializers.BooleanField(
        default=False, help_text="Run without effects and costs: a block that does more than compute gives an example."
    )


class ExecuteSerializer(LimitsSerializer):
    """What a run is started with."""

    inputs = serializers.DictField(default=dict, help_text="Values for the graph's inputs, by their names.")
    credentials_inputs = serializers.DictField(child=CredentialsMetaInputSerializer(), default=dict)
    source = OneOfField(  # type: ignore[assignment]  # a field may be called as an attribute of fields
        ["builder", "library", "onboarding"], required=False, allow_null=True
    )


class ExecutePresetSerializer(LimitsSerializer):
    """What a run of a preset is started with, over what that keeps."""

    inputs = serializers.DictField(default=dict, help_text="Values over those of the preset, by name.")
    credential_inputs = serializers.DictField(child=CredentialsMetaInputSerializer(), default=dict)


class BatchedRunSerializer(ExecuteSerializer):
    """What one run of a batch is started with."""

    idempotency_key = serializers.CharField(
        required=False,
        max_length=LONGEST_KEY,
        trim_whitespace=False,
        help_text="As the header Idempotency-Key of a request that starts this run alone.",
    )

    def validate_idempotency_key(self, key: str) -> str:
        """The same characters as in a header."""
        if not KEY.fullmatch(key):
            raise serializers.ValidationError(KEY_RULE)
        return key


class ExecuteBatchSerializer(serializers.Serializer[Any]):
    """Runs to start together."""

    runs = serializers.ListField(child=BatchedRunSerializer(), min_length=1, max_length=MAX_BATCH)


class StatsSerializer(serializers.Serializer[Any]):
    """A run's counters; times are seconds."""

    cost = serializers.IntegerField(help_text="Credits that its own nodes have used, rounded up.")
    duration = serializers.FloatField()
    duration_cpu_only = serializers.FloatField()
    node_exec_time = serializers.FloatField()
    node_exec_time_cpu_only = serializers.FloatField()
    node_exec_count = serializers.IntegerField()
    node_error_count = serializers.IntegerField()
    error = serializers.CharField(allow_null=True)
    activity_status = serializers.CharField(allow_null=True)
    correctness_score = serializers.FloatField(allow_null=True)


class GraphExecutionMetaSerializer(serializers.Serializer[Any]):
    """A run."""

    id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField()
    inputs = serializers.DictField()
    credential_inputs = serializers.DictField(child=CredentialsMetaInputSerializer())
    nodes_input_masks = serializers.DictField(child=serializers.DictField())
    preset_id = serializers.UUIDField(allow_null=True)
    is_dry_run = serializers.BooleanField(
        help_text="Whether it has no effects: what does more than compute gives an example."
    )
    source_run_id = serializers.UUIDField(allow_null=True, help_text="The run that this one goes on from.")
    source_node_id = serializers.UUIDField(allow_null=True, help_text="The node that the source was replayed from.")
    status = serializers.ChoiceField(STATUSES)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    is_shared = serializers.BooleanField()
    share_token = serializers.CharField(allow_null=True)
    stats = StatsSerializer()
    seq = serializers.IntegerField(help_text="The number of the newest event: subscribe with it as `after_seq`.")
    error = serializers.CharField(allow_null=True, help_text="Why the run failed.")
    error_code = serializers.CharField(allow_null=True)
    waiting = serializers.BooleanField(help_text="Whether it is parked until a time or until a run it called ends.")
    truncated = serializers.BooleanField(help_text="Whether some value is shown cut short.")


class NodeExecutionResultSerializer(serializers.Serializer[Any]):
    """One activation of a node: what it was given and what it gave."""

    user_id = serializers.UUIDField()
    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField()
    graph_exec_id = serializers.UUIDField()
    node_exec_id = serializers.UUIDField()
    node_id = serializers.UUIDField()
    block_id = serializers.CharField()
    status = serializers.ChoiceField(STATUSES)
    input_data = serializers.DictField()
    output_data = serializers.DictField(child=serializers.ListField(), help_text="The values that each pin gave.")
    add_time = serializers.DateTimeField()
    queue_time = serializers.DateTimeField(allow_null=True)
    start_time = serializers.DateTimeField(allow_null=True)
    end_time = serializers.DateTimeField(allow_null=True)
    output_count = serializers.IntegerField(help_text="How many outputs it gave, shown or not.")
    waiting = serializers.BooleanField(help_text="Whether it sleeps or waits for a run that it called.")
    truncated = serializers.BooleanField(help_text="Whether some value is cut short or left out.")


class GraphExecutionSerializer(GraphExecutionMetaSerializer):
    """A run with its outputs."""

    outputs = serializers.DictField(child=serializers.ListField(), help_text="The values of each output, by its name.")


class StalledSerializer(serializers.Serializer[Any]):
    """A node that got some of its values but never all."""

    node_id = serializers.UUIDField()
    missing = serializers.ListField(child=serializers.CharField(), help_text="The pins that stayed empty.")


class GraphExecutionWithNodesSerializer(GraphExecutionSerializer):
    """A run with its outputs and a page of its activations."""

    stalled = StalledSerializer(many=True)
    nodes_to_skip = serializers.ListField(
        child=serializers.UUIDField(), help_text="The nodes that are left out: their optional credentials are missing."
    )
    node_executions = NodeExecutionResultSerializer(many=True)
    node_pagination = PaginationSerializer()


class StartedBatchSerializer(serializers.Serializer[Any]):
    """The runs of a batch, in its order."""

    executions = GraphExecutionMetaSerializer(many=True)


class GraphExecutionsPageSerializer(serializers.Serializer[Any]):
    """A page of runs."""

    executions = GraphExecutionMetaSerializer(many=True)
    pagination = CursorPaginationSerializer()


class ReplaySerializer(serializers.Serializer[Any]):
    """Where a run is run again from."""

    node_id = serializers.UUIDField(help_text="This node is run again, and everything behind it.")
    inputs = serializers.DictField(default=dict, help_text="Values for the node's pins, over all others.")


class WhySerializer(serializers.Serializer[Any]):
    """What a run waits for."""

    status = serializers.ChoiceField(STATUSES)
    sentences = serializers.ListField(child=serializers.CharField(), help_text="One for each thing it waits for.")
    stalled = StalledSerializer(many=True)


class DiffSideSerializer(serializers.Serializer[Any]):
    """What one of two runs had."""

    activation = serializers.IntegerField(help_text="Which turn of the node, from 0.")
    pin = serializers.CharField(allow_null=True, help_text="The output's pin; null for inputs, which are all shown.")
    value = serializers.JSONField(help_text="A preview.")


class DifferenceSerializer(serializers.Serializer[Any]):
    """The first node where two runs differ; a side is null where that run has nothing."""

    node_id = serializers.UUIDField()
    block = serializers.CharField()
    a = DiffSideSerializer(allow_null=True)
    b = DiffSideSerializer(allow_null=True)


class DiffSerializer(serializers.Serializer[Any]):
    """Where two runs part."""

    equal = serializers.BooleanField()
    inputs = DifferenceSerializer(allow_null=True)
    outputs = DifferenceSerializer(allow_null=True)
