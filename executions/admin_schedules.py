"""Schedules in the admin site: to look at, to pause and to resume."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.models import User
from core.admin import link_to
from core.errors import DomainError
from executions.admin import ExecutionAdmin, short_id, shown_value
from executions.models import Schedule
from executions.schedules import pause_schedule, resume_schedule

_MOST_FIRES = 20


@admin.register(Schedule)
class ScheduleAdmin(ExecutionAdmin):
    """See what runs when and what became of it."""

    list_display = ("name", "user", "agent_name", "cron", "zone", "next_fire_at", "paused_at", "pause_reason")
    list_filter = (("paused_at", admin.EmptyFieldListFilter), "misfire_policy", "overlap_policy", "created_at")
    list_select_related = ("user",)
    ids = ("graph_id",)
    search_fields = ("user__email", "name")
    search_help_text = "The id of a graph, or part of a name or an email address"
    actions = ("pause", "resume")
    fields = (
        "id", "name", "user", "agent_name", "graph_id", "graph_version", "cron", "zone", "shown_inputs",
        "next_fire_at", "paused_at", "pause_reason", "misfire_policy", "catch_up_seconds", "overlap_policy",
        "missed_count", "shown_fires", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        """The schedules without the values that may be long."""
        schedules: QuerySet[Schedule] = super().get_queryset(request)
        return schedules.defer("inputs", "credential_inputs")

    @admin.action(description="Pause the selected schedules", permissions=["decide"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Fire them no more."""
        self._each(request, queryset, pause_schedule, "paused")

    @admin.action(description="Resume the selected schedules", permissions=["decide"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Fire them again, those that can run."""
        self._each(request, queryset, resume_schedule, "running")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Schedule],
        change: Callable[[User, UUID], Schedule],
        state: str,
    ) -> None:
        count = 0
        for schedule in queryset.select_related("user").order_by("created_at", "pk"):
            try:
                change(schedule.user, schedule.pk)
                count += 1
            except DomainError as error:
                self.message_user(request, f"{schedule.name}: {error.message}", messages.ERROR)
        self.message_user(request, f"{count} schedules are {state}.")

    @admin.display(description="inputs")
    def shown_inputs(self, schedule: Schedule) -> str:
        """What each run is given, cut when it is long."""
        return shown_value(schedule.inputs)

    @admin.display(description="newest times")
    def shown_fires(self, schedule: Schedule) -> SafeString | str:
        """What its last times led to."""
        fires = schedule.fires.order_by("-fire_at")[:_MOST_FIRES]
        lines = ((_time(fire.fire_at), fire.outcome, _led_to(fire.run_id, fire.reason)) for fire in fires)
        return format_html_join("", "<div>{} {} {}</div>", lines) or "none"


def _led_to(run_id: UUID | None, reason: str) -> str:
    return link_to("executions_graphexecution", run_id, short_id(run_id)) if run_id else reason


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
