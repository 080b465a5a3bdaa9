"""Rows of a run. They are the truth: whatever a worker or a socket knows, it read here.

The tables below the run carry no foreign-key constraint to it: every write to them is one statement that first
proves ownership of the run's row, and a check per row would cost more than the row itself. They have no index of the
run alone either: the key of each begins with it.
"""

from typing import Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now

from accounts.models import User
from core.ids import uuid7
from executions.kinds import ACTIVE, ENGINE_VERSION, FINAL, PARKED, NodeStatus, Status
from graphs.models import Graph

# Sorted, so that the constraints that name them come out the same in every migration.
_FINAL = sorted(FINAL)
_ACTIVE = sorted(ACTIVE)
_PARKED = sorted(PARKED)


def _choices(kind: type[Status] | type[NodeStatus]) -> list[tuple[str, str]]:
    return [(member.value, member.value) for member in kind]


class GraphExecutionQuerySet(models.QuerySet["GraphExecution"]):
    """Questions about runs."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The runs that `user` may see: their own, deleted ones excepted."""
        return self.filter(user=user.pk, is_deleted=False)

    def descendants_of(self, run_id: UUID) -> Self:
        """A run and everything it started, deepest first: the order in which they may be locked."""
        family = """
            WITH RECURSIVE family AS (
                SELECT id FROM executions_graphexecution WHERE id = %s
                UNION ALL
                SELECT child.id FROM executions_graphexecution child JOIN family ON child.parent_id = family.id
            ) SELECT id FROM family
        """
        return self.filter(pk__in=RawSQL(family, [run_id])).order_by("-depth", "pk")  # noqa: S611  no outside text

    def shared(self) -> Self:
        """The runs that whoever has their link may see."""
        return self.filter(shared_at__isnull=False)

    def locked(self) -> Self:
        """The same rows, locked until the transaction ends."""
        return self.select_for_update(of=("self",))

    def request_cancel(self) -> int:
        """Ask the workers that hold these runs to end them; returns how many were not asked before."""
        return self.filter(cancel_requested_at=None).update(cancel_requested_at=Now())

    def end(self, status: Status, head_seq: int, *, nodes: int, error_code: str, error: str) -> None:
        """Write how these runs ended; `nodes` of their activations end with them."""
        self.update(
            status=status,
            ended_at=Now(),
            cancel_requested_at=Now() if status == Status.TERMINATED else F("cancel_requested_at"),
            wake_at=None,
            needs_credits=None,
            lease_until=None,
            error_code=error_code,
            error=error,
            head_seq=head_seq,
            node_count=F("node_count") + nodes,
        )

    def wake(self) -> int:
        """Tell these runs that something happened outside of them; a parked one is queued again."""
        self.filter(status__in=_ACTIVE).update(wakes=F("wakes") + 1)
        return self.filter(status__in=PARKED).update(status=Status.QUEUED, queued_at=Now(), wake_at=None)


class GraphExecution(models.Model):
    """One run of one version of a graph.

    `node_budget` is how many activations may begin, `output_budget` how many outputs they may give. `stalled` names,
    once the run has ended, the nodes that got some of their values but never all: `{"node_id", "missing": pins}`.

    `source_run_id` is the run that this one took finished activations over from; they bear `started_fence` 0. With a
    `source_node_id` everything from that node on is run again, without one only what failed or was under way.

    `nodes_to_skip` lists the nodes that are left out, because their optional credentials were not given. A dry run
    has no effects: a block that does more than compute gives an example. Requests with one `trigger_key` differ by
    `request_hash`.

    `fence` counts the claims: a worker may write only while the fence is the one it claimed with and the lease holds.
    `head_seq` is the number of the newest event, `wakes` counts what happened from outside (a child ended, a person
    decided) so that a worker about to park can tell whether it looked too early.

    `needs_engine` is the engine version that wrote the run's rows: an older one leaves it alone. `left_since` is when
    a worker first left the run to others because it lacks one of its blocks; no commit has been made since.

    A shared run has all three of `share_nonce`, `share_digest` and `shared_at`; `executions.links` tells what they are.

    A run with a `price_version` is metered: that is the list of prices it began with. It and what it calls may use
    `max_credits`, unless that is null; what it uses counts as the use of the API key it was started with, if any.
    `needs_credits` is what its user must have for it to go on, `spent` what
    its own nodes have used, both in micro-credits. One that `is_over_debt` was not charged for all that it has used, as
    its user would owe more than can be counted.

    The two safe modes say whether people are asked: those of the graph when the run was started, or of the run that
    called it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Indexes of several columns begin with each of these three.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    graph = models.ForeignKey(Graph, on_delete=models.CASCADE, related_name="+", db_index=False)
    graph_version = models.PositiveIntegerField()
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="children", db_index=False
    )
    root_id = models.UUIDField(null=True, blank=True)
    source_run_id = models.UUIDField(null=True, blank=True)
    source_node_id = models.UUIDField(null=True, blank=True)
    depth = models.PositiveSmallIntegerField(db_default=0)
    # Null where there is none, so that the constraint does not see it.
    trigger_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    request_hash = models.CharField(max_length=64, db_default="", blank=True)

    status = models.CharField(max_length=10, choices=_choices(Status), db_default=Status.QUEUED)
    error_code = models.CharField(max_length=50, db_default="", blank=True)
    error = models.TextField(db_default="", blank=True)

    inputs = models.JSONField()
    credential_inputs = models.JSONField()
    nodes_input_masks = models.JSONField()
    nodes_to_skip = models.JSONField(db_default=[])
    is_dry_run = models.BooleanField(db_default=False)
    preset_id = models.UUIDField(null=True, blank=True)
    human_in_the_loop_safe_mode = models.BooleanField(db_default=True)
    sensitive_action_safe_mode = models.BooleanField(db_default=False)

    fence = models.BigIntegerField(db_default=0)
    lease_owner = models.CharField(max_length=100, db_default="", blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    wake_at = models.DateTimeField(null=True, blank=True)
    wakes = models.IntegerField(db_default=0)
    claims_without_progress = models.PositiveSmallIntegerField(db_default=0)
    needs_engine = models.PositiveSmallIntegerField(db_default=ENGINE_VERSION)
    left_since = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    head_seq = models.BigIntegerField(db_default=0)

    created_at = models.DateTimeField(db_default=Now())
    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    node_count = models.PositiveIntegerField(db_default=0)
    node_error_count = models.PositiveIntegerField(db_default=0)
    node_seconds = models.FloatField(db_default=0.0)
    node_budget = models.PositiveIntegerField(db_default=100_000)
    output_count = models.BigIntegerField(db_default=0)
    output_budget = models.PositiveIntegerField(db_default=1_000_000)
    deadline_at = models.DateTimeField(null=True, blank=True)
    price_version = models.IntegerField(null=True, blank=True)
    max_credits = models.PositiveIntegerField(null=True, blank=True)
    api_key_id = models.UUIDField(null=True, blank=True)
    needs_credits = models.BigIntegerField(null=True, blank=True)
    spent = models.BigIntegerField(db_default=0)
    is_over_debt = models.BooleanField(db_default=False)
    stalled = models.JSONField(db_default=[])
    is_deleted = models.BooleanField(db_default=False)
    share_nonce = models.UUIDField(null=True, blank=True)
    # Null where there is none: nearly all rows.
    share_digest = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001
    shared_at = models.DateTimeField(null=True, blank=True)

    objects = GraphExecutionQuerySet.as_manager()

    class Meta:
        verbose_name = "run"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "trigger_key"], name="one_run_per_trigger", condition=Q(trigger_key__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(status__in=_FINAL, ended_at__isnull=False) | (~Q(status__in=_FINAL) & Q(ended_at=None)),
                name="final_runs_have_ended",
            ),
            models.CheckConstraint(
                condition=Q(status=Status.RUNNING) | Q(lease_until__isnull=True), name="only_running_runs_are_leased"
            ),
            models.CheckConstraint(
                condition=Q(share_nonce=None, share_digest__isnull=True, shared_at=None)
                | Q(share_nonce__isnull=False, share_digest__isnull=False, shared_at__isnull=False),
                name="shared_runs_have_a_link",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "is_deleted", "-created_at", "-id"], name="list_of_a_user"),
            # With the user and the key the runs of a graph are counted without looking at them.
            models.Index(fields=["graph", "user", "is_deleted", "-created_at", "-id"], name="list_of_a_graph"),
            models.Index(
                "user", "graph", Coalesce("root_id", "id"), "id", name="runs_queued", condition=Q(status=Status.QUEUED)
            ),
            models.Index(fields=["user", "graph"], name="runs_under_way", condition=Q(status=Status.RUNNING)),
            models.Index(fields=["wake_at"], name="runs_parked", condition=Q(status__in=_PARKED)),
            models.Index(fields=["user"], name="runs_short_of_credits", condition=Q(needs_credits__isnull=False)),
            models.Index(
                fields=["parent"],
                name="children_not_ended",
                condition=Q(parent__isnull=False, cancel_requested_at=None, status__in=_ACTIVE),
            ),
            models.Index(fields=["parent"], name="runs_of_a_parent", condition=Q(parent__isnull=False)),
            models.Index(fields=["root_id"], name="runs_of_a_family", condition=Q(root_id__isnull=False)),
            models.Index(fields=["share_digest"], name="shared_runs", condition=Q(share_digest__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"


class NodeExecutionQuerySet(models.QuerySet["NodeExecution"]):
    """Questions about activations."""

    def open_in(self, run_id: UUID) -> Self:
        """The activations of a run that began and have not ended."""
        return self.filter(run=run_id, ended_at=None)

    def end(self, status: NodeStatus) -> None:
        """Write how these activations ended."""
        self.update(status=status, ended_at=Now())


class NodeExecution(models.Model):
    """One activation of a node: the inputs it consumed and how it ended.

    A pure node's row appears finished. `output_count` outputs are stored, of which the first `handed_on` have
    reached the nodes behind. `input_blobs` maps the pins whose values are large to the hashes of their blobs; of these
    `input_data` holds previews. `waits` lists what the block waited for so far, the last one still open while WAITING:
    `{"until": time}`, or the id of a called run, a review or a task; `executions.engine.waits` tells it all.
    `quantity` is how many seconds, bytes, tokens or items it was due to pay for; null unless its price was per those.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(
        GraphExecution, on_delete=models.CASCADE, related_name="nodes", db_constraint=False, db_index=False
    )
    node_id = models.UUIDField()
    block_id = models.CharField(max_length=36)
    ordinal = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=_choices(NodeStatus))
    attempt = models.PositiveSmallIntegerField(db_default=1)
    started_fence = models.BigIntegerField()
    input_data = models.JSONField()
    input_blobs = models.JSONField(null=True, blank=True)
    output_count = models.PositiveIntegerField(db_default=0)
    handed_on = models.PositiveIntegerField(db_default=0)
    waits = models.JSONField(db_default=[])
    error = models.TextField(db_default="", blank=True)
    quantity = models.FloatField(null=True, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = NodeExecutionQuerySet.as_manager()

    class Meta:
        verbose_name = "activation"
        constraints = [
            models.UniqueConstraint(fields=["run", "node_id", "ordinal"], name="node_runs_once_per_activation"),
        ]
        indexes = [
            models.Index(
                fields=["run"],
                name="open_activations_of_a_run",
                condition=Q(status__in=["RUNNING", "WAITING", "REVIEW"]) | Q(handed_on__lt=F("output_count")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}#{self.ordinal} {self.status}"


class NodeOutput(models.Model):
    """One (pin, value) pair that an activation gave, in order.

    A large value is the blob of that hash, and `value` is a preview of it.
    """

    pk = models.CompositePrimaryKey("run_id", "node_execution_id", "ordinal")
    run = models.ForeignKey(
        GraphExecution, on_delete=models.CASCADE, related_name="outputs", db_constraint=False, db_index=False
    )
    node_execution = models.ForeignKey(
        NodeExecution, on_delete=models.CASCADE, related_name="outputs", db_constraint=False, db_index=False
    )
    ordinal = models.PositiveIntegerField()
    pin = models.TextField()
    value = models.JSONField()
    # Null where there is none: nearly all rows.
    blob = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001

    def __str__(self) -> str:
        return f"{self.pin}[{self.ordinal}]"


class Blob(models.Model):
    """A large value of a user, once: its JSON, and the SHA-256 of it. Which runs need it is told by `BlobUse`.

    `touched_at` is when a run last wanted to store it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    hash = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    encoded = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    touched_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "hash"], name="one_blob_per_value_of_a_user")]

    def __str__(self) -> str:
        return f"{self.hash[:12]}… of {self.size} bytes"


class BlobUse(models.Model):
    """A run in which a large value was given to a block, or by one."""

    pk = models.CompositePrimaryKey("run_id", "hash")
    run = models.ForeignKey(GraphExecution, on_delete=models.CASCADE, related_name="blobs", db_index=False)
    user_id = models.UUIDField()
    hash = models.CharField(max_length=64)

    class Meta:
        indexes = [models.Index(fields=["user_id", "hash"], name="uses_of_a_blob")]

    def __str__(self) -> str:
        return f"{self.hash[:12]}… in {self.run_id}"


class Token(models.Model):
    """An output that reached an input pin and waits there to be consumed; the row goes when it is.

    `position` is the order of arrival, which decides how values on different pins pair up.
    """

    pk = models.CompositePrimaryKey("run_id", "source_id", "ordinal", "link_id")
    run = models.ForeignKey(
        GraphExecution, on_delete=models.CASCADE, related_name="tokens", db_constraint=False, db_index=False
    )
    source = models.ForeignKey(
        NodeExecution, on_delete=models.CASCADE, related_name="tokens", db_constraint=False, db_index=False
    )
    ordinal = models.PositiveIntegerField()
    link_id = models.UUIDField()
    position = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.link_id} ← {self.source_id}[{self.ordinal}]"


class Event(models.Model):
    """Something that happened in a run, numbered from 1 without gaps.

    It names what changed; what the change looked like is read from the rows. `outputs` is how many outputs the
    activation had given by then.
    """

    pk = models.CompositePrimaryKey("run_id", "seq")
    run = models.ForeignKey(
        GraphExecution, on_delete=models.CASCADE, related_name="events", db_constraint=False, db_index=False
    )
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=20)
    node_execution_id = models.UUIDField(null=True)
    outputs = models.PositiveIntegerField(db_default=0)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"
