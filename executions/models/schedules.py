"""Rows of schedules: what shall run when, and what became of each time."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from core.ids import uuid7
from executions.kinds import FireOutcome, Misfire, Overlap
from executions.models.runs import GraphExecution


def _choices(kind: type[Misfire] | type[Overlap] | type[FireOutcome]) -> list[tuple[str, str]]:
    return [(member.value, member.value) for member in kind]


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    """Questions about schedules."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The schedules that `user` may see: their own."""
        return self.filter(user=user.pk)

    def due(self, now: datetime) -> Self:
        """Those whose time has come, the longest due first."""
        return self.filter(next_fire_at__lte=now).order_by("next_fire_at", "pk")

    def claimed(self) -> Self:
        """The same rows, locked until the transaction ends, without those that somebody else has locked."""
        return self.select_for_update(of=("self",), skip_locked=True)

    def locked(self) -> Self:
        """The same rows, locked until the transaction ends."""
        return self.select_for_update(of=("self",))


class Schedule(models.Model):
    """Runs of one version of a graph, with the same inputs, at the times that `cron` names in the time zone `zone`.

    `next_fire_at` is the first time that nobody has looked at, null while the schedule is paused; `pause_reason` says
    why if nobody paused it. `missed_count` counts the times that started nothing because they went by unnoticed.
    With `misfire_policy` ALL those of the last `catch_up_seconds` are made up for. Requests with one `request_key`
    differ by `request_hash`.

    The graph may be gone: it is found out when the schedule fires.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Indexes of several columns begin with it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    graph_id = models.UUIDField()
    graph_version = models.PositiveIntegerField()
    agent_name = models.TextField()
    name = models.CharField(max_length=200)
    inputs = models.JSONField()
    credential_inputs = models.JSONField()
    max_credits = models.PositiveIntegerField(null=True, blank=True)

    cron = models.CharField(max_length=200)
    zone = models.CharField(max_length=64)
    misfire_policy = models.CharField(max_length=10, choices=_choices(Misfire), db_default=Misfire.ONCE)
    catch_up_seconds = models.PositiveIntegerField(db_default=3600)
    overlap_policy = models.CharField(max_length=10, choices=_choices(Overlap), db_default=Overlap.ALLOW)

    next_fire_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_reason = models.TextField(db_default="", blank=True)
    last_run = models.ForeignKey(
        GraphExecution, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    missed_count = models.PositiveIntegerField(db_default=0)

    # Null where there is none, so that the constraint does not see it.
    request_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    request_hash = models.CharField(max_length=64, db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "request_key"], name="one_schedule_per_request", condition=Q(request_key__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(paused_at=None, next_fire_at__isnull=False, pause_reason="")
                | Q(paused_at__isnull=False, next_fire_at=None),
                name="schedules_fire_or_are_paused",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "-created_at", "-id"], name="schedules_of_a_user"),
            models.Index(fields=["next_fire_at", "id"], name="schedules_due", condition=Q(next_fire_at__isnull=False)),
            models.Index(fields=["last_run"], name="schedule_of_a_run", condition=Q(last_run__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.cron} {self.zone}"


class Fire(models.Model):
    """A time of a schedule that was acted on, and what it led to. `run_id` is the run, `reason` why there is none."""

    pk = models.CompositePrimaryKey("schedule_id", "fire_at")
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="fires", db_index=False)
    fire_at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=_choices(FireOutcome))
    run_id = models.UUIDField(null=True, blank=True)
    reason = models.TextField(db_default="", blank=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.fire_at} {self.outcome}"
