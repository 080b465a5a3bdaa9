"""What a run asked for outside of itself and waits for: decisions of people, and blocks that run apart."""

from typing import Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from core.ids import uuid7
from executions.kinds import ACTIVE, ReviewStatus
from executions.models.runs import GraphExecution, NodeExecution
from graphs.models import Graph

_STATUSES = [(status.value, status.value) for status in ReviewStatus]


class ReviewQuerySet(models.QuerySet["Review"]):
    """Questions about reviews."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The reviews that `user` may decide: those of their own runs, deleted ones excepted."""
        return self.filter(user=user.pk, run__is_deleted=False)

    def waiting(self) -> Self:
        """The reviews that something waits for: neither their activation nor their run has ended, or was asked to.

        A worker that died after it asked, and before it wrote down what asks, leaves a review that nothing waits for.
        """
        return self.filter(
            status=ReviewStatus.WAITING,
            node_execution__ended_at=None,
            run__status__in=sorted(ACTIVE),
            run__cancel_requested_at=None,
        )

    def close(self, message: str) -> None:
        """Reject what still waits because the run ends; nobody decided this."""
        self.filter(status=ReviewStatus.WAITING).update(status=ReviewStatus.REJECTED, message=message)


class Review(models.Model):
    """A question to a person: whether `payload` may go on, and the decision once there is one.

    `turn` counts what the activation waited for before it asked. `data` is the payload as the person left it, null
    unless they changed it. `decided_at` is null while it waits, and for one that was closed because its run ended.

    An approved review with `approves_rest` answers every later question of the same node in the same family of runs,
    that of `root_id`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(GraphExecution, on_delete=models.CASCADE, related_name="reviews")
    root_id = models.UUIDField()
    # The activation's row may be written after the review's.
    node_execution = models.ForeignKey(
        NodeExecution, on_delete=models.CASCADE, related_name="reviews", db_constraint=False, db_index=False
    )
    turn = models.PositiveIntegerField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    graph = models.ForeignKey(Graph, on_delete=models.CASCADE, related_name="+")
    graph_version = models.PositiveIntegerField()
    node_id = models.UUIDField()

    payload = models.JSONField()
    instructions = models.TextField()
    editable = models.BooleanField()

    status = models.CharField(
        max_length=10,
        choices=_STATUSES,
        db_default=ReviewStatus.WAITING,
    )
    data = models.JSONField(null=True, blank=True)
    message = models.TextField(db_default="", blank=True)
    approves_rest = models.BooleanField(db_default=False)
    created_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node_execution", "turn"], name="one_review_per_turn"),
            models.CheckConstraint(
                condition=~Q(status=ReviewStatus.WAITING) | Q(decided_at=None, data__isnull=True, approves_rest=False),
                name="waiting_reviews_are_undecided",
            ),
            models.CheckConstraint(
                condition=~Q(status=ReviewStatus.APPROVED) | Q(decided_at__isnull=False),
                name="approved_reviews_are_decided",
            ),
            models.CheckConstraint(
                condition=Q(approves_rest=False) | Q(status=ReviewStatus.APPROVED, data__isnull=True),
                name="only_unedited_approvals_approve_the_rest",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "status", "-created_at", "-id"], name="reviews_of_a_user"),
            models.Index(fields=["root_id", "node_id"], name="approvals_of_the_rest", condition=Q(approves_rest=True)),
        ]

    def __str__(self) -> str:
        return f"{self.node_execution_id}?{self.turn} {self.status}"


class NodeTask(models.Model):
    """A turn of a block in a process of its own, which any worker of the queue `isolated` may take.

    `turn` counts what the activation waited for before. The block gets `input_data`, or what the activation's row holds
    where that is null. `claims` counts the workers that took it: each may write only while that number is its own.
    `output_count` is how many outputs its parts hold by now. Once it has ended, `error` says why it failed, and
    `later` in how many seconds it may be tried again; `suspension` what it wants to wait for, `used_tokens` what it
    said it used. It is `lost` if nobody can tell how far the block came. The row goes, with its parts, when its
    activation has gone on.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    run = models.ForeignKey(GraphExecution, on_delete=models.CASCADE, related_name="tasks", db_constraint=False)
    node_execution = models.ForeignKey(
        NodeExecution, on_delete=models.CASCADE, related_name="tasks", db_constraint=False, db_index=False
    )
    turn = models.PositiveIntegerField()
    input_data = models.JSONField(null=True, blank=True)
    context = models.JSONField()
    timeout_seconds = models.FloatField(null=True, blank=True)

    claims = models.PositiveSmallIntegerField(db_default=0)
    lease_owner = models.CharField(max_length=100, db_default="", blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    output_count = models.PositiveIntegerField(db_default=0)
    used_tokens = models.PositiveBigIntegerField(db_default=0)
    error = models.TextField(db_default="", blank=True)
    later = models.FloatField(db_default=0.0)
    suspension = models.JSONField(null=True, blank=True)
    is_lost = models.BooleanField(db_default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node_execution", "turn"], name="one_task_per_turn"),
            models.CheckConstraint(condition=Q(ended_at=None) | Q(lease_until=None), name="only_open_tasks_are_leased"),
        ]
        indexes = [models.Index(fields=["asked_at"], name="tasks_to_take", condition=Q(ended_at=None))]

    def __str__(self) -> str:
        return f"{self.node_execution_id}!{self.turn}"


class NodeTaskPart(models.Model):
    """Some of what a block in a process of its own has given: `outputs` are (pin, value) pairs, as JSON.

    The first of them is number `first` of its turn, and they are `count`. Those that come after are in the next part.
    """

    task = models.ForeignKey(NodeTask, on_delete=models.CASCADE, related_name="parts", db_index=False)
    first = models.PositiveIntegerField()
    count = models.PositiveIntegerField()
    outputs = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "first"], name="each_output_of_a_task_in_one_part")]

    def __str__(self) -> str:
        return f"{self.task_id}[{self.first}:{self.first + self.count}]"
