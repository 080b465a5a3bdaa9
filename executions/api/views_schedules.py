"""The endpoints of schedules."""

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import checked_query, error_responses
from core.choices import OneOfField
from core.idempotency import IDEMPOTENCY_KEY, idempotency_key_of
from core.paging import Paging, page_headers, page_parameters
from core.whole_numbers import WholeNumberField
from credits.kinds import MOST_CREDITS
from executions import cron, schedules
from executions.api.requests import trigger_of, user_of
from executions.errors import NoSuchSchedule
from executions.kinds import FireOutcome, Misfire, Overlap
from executions.models import Schedule
from executions.reading import time_text
from integrations.placeholders import CredentialsMetaInputSerializer

MISFIRE_POLICIES = [policy.value for policy in Misfire]
OVERLAP_POLICIES = [policy.value for policy in Overlap]
FIRE_OUTCOMES = [outcome.value for outcome in FireOutcome]
# What the wire and the rows call differently.
_COLUMNS = {"credentials": "credential_inputs", "timezone": "zone"}


class ScheduleCreationSerializer(serializers.Serializer[Any]):
    """What runs when."""

    name = serializers.CharField(max_length=200)
    cron = serializers.CharField(
        max_length=cron.LONGEST, help_text="Minute, hour, day of month, month, day of week; 0 and 7 are Sunday."
    )
    inputs = serializers.DictField(help_text="Values for the graph's inputs, by their names.")
    graph_version = serializers.IntegerField(
        min_value=1, max_value=2_147_483_647, default=None, allow_null=True, help_text="Absent: the highest."
    )
    credentials = serializers.DictField(child=CredentialsMetaInputSerializer(), default=dict)
    timezone = serializers.CharField(
        max_length=64, default=None, allow_null=True, help_text="An IANA name. Absent: your profile's, or UTC."
    )
    misfire_policy = OneOfField(
        MISFIRE_POLICIES,
        default=Misfire.ONCE.value,
        help_text="What to do about times that went by unnoticed: nothing, one run for all, or a run for each.",
    )
    catch_up_seconds = serializers.IntegerField(
        min_value=60,
        max_value=schedules.MAX_CATCH_UP_SECONDS,
        default=3600,
        help_text="How far back misfire_policy all makes up for.",
    )
    overlap_policy = OneOfField(
        OVERLAP_POLICIES,
        default=Overlap.ALLOW.value,
        help_text="Whether to run while the last run that it started is still under way.",
    )
    max_credits = WholeNumberField(
        min_value=1,
        max_value=MOST_CREDITS,
        default=None,
        allow_null=True,
        help_text="The most that each run may use, with what it calls.",
    )


class ScheduleChangeSerializer(ScheduleCreationSerializer):
    """What of a schedule to change; what is left out stays."""

    graph_version = serializers.IntegerField(min_value=1, max_value=2_147_483_647)
    timezone = serializers.CharField(max_length=64)


class ScheduleInfoSerializer(serializers.Serializer[Any]):
    """A schedule, and what it did."""

    id = serializers.UUIDField()
    schedule_id = serializers.UUIDField(help_text="The same.")
    name = serializers.CharField()
    agent_name = serializers.CharField(help_text="The name of the graph.")
    user_id = serializers.UUIDField()
    graph_id = serializers.UUIDField()
    graph_version = serializers.IntegerField()
    cron = serializers.CharField()
    input_data = serializers.DictField()
    input_credentials = serializers.DictField(child=CredentialsMetaInputSerializer())
    next_run_time = serializers.DateTimeField(allow_null=True, help_text="In its time zone; null while it is paused.")
    timezone = serializers.CharField()
    misfire_policy = serializers.ChoiceField(MISFIRE_POLICIES)
    catch_up_seconds = serializers.IntegerField()
    overlap_policy = serializers.ChoiceField(OVERLAP_POLICIES)
    max_credits = serializers.IntegerField(allow_null=True)
    is_paused = serializers.BooleanField()
    paused_at = serializers.DateTimeField(allow_null=True)
    pause_reason = serializers.CharField(help_text="Why it paused itself; empty if somebody paused it.")
    missed_count = serializers.IntegerField(help_text="Times that went by unnoticed and were not made up for.")
    last_run_id = serializers.UUIDField(allow_null=True, help_text="The last run that it started.")
    created_at = serializers.DateTimeField()


class FireSerializer(serializers.Serializer[Any]):
    """A time of a schedule that was acted on."""

    fire_time = serializers.DateTimeField(help_text="The time as the schedule names it, in its time zone.")
    outcome = serializers.ChoiceField(FIRE_OUTCOMES)
    graph_exec_id = serializers.UUIDField(allow_null=True)
    reason = serializers.CharField(help_text="Why there is no run; empty if there is one.")
    fired_at = serializers.DateTimeField(help_text="When it was acted on.")


class DeletedScheduleSerializer(serializers.Serializer[Any]):
    """What was deleted."""

    id = serializers.UUIDField()


class NextRunsSerializer(serializers.Serializer[Any]):
    """When a schedule fires next."""

    cron = serializers.CharField()
    timezone = serializers.CharField()
    explanation = serializers.CharField(help_text="The expression in English.")
    next_run_times = serializers.ListField(child=serializers.DateTimeField(), help_text="In the time zone.")


class ListQuerySerializer(serializers.Serializer[Any]):
    """Which schedules to list."""

    include_paused = serializers.BooleanField(default=False)


class CountQuerySerializer(serializers.Serializer[Any]):
    """How many times to tell."""

    count = serializers.IntegerField(min_value=1, max_value=schedules.MAX_LISTED_TIMES, default=5)


class PreviewQuerySerializer(CountQuerySerializer):
    """Which times to tell."""

    cron = serializers.CharField(max_length=cron.LONGEST)
    timezone = serializers.CharField(max_length=64, required=False)


class GraphSchedulesView(APIView):
    """The schedules of one graph."""

    @extend_schema(
        tags=["schedules"],
        operation_id="create_schedule",
        summary="Run a graph at certain times",
        request=ScheduleCreationSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: ScheduleInfoSerializer, **error_responses(400, 401, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, graph_id: UUID) -> Response:
        """Save a schedule, if the graph can run with these inputs, and return it with its next time."""
        body = ScheduleCreationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        trigger = trigger_of(idempotency_key_of(request), "schedule", graph_id, body.validated_data)
        asked = schedules.ScheduleRequest(
            **_by_column(body.validated_data), request_key=trigger.key, request_hash=trigger.request_hash
        )
        return Response(_info(schedules.create_schedule(user_of(request), graph_id, asked)))

    @extend_schema(
        tags=["schedules"],
        operation_id="list_graph_schedules",
        summary="List the schedules of a graph",
        parameters=[ListQuerySerializer, *page_parameters(default=100)],
        responses={200: ScheduleInfoSerializer(many=True), **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, graph_id: UUID) -> Response:
        """Return a page of the graph's schedules, newest first, without those that are paused unless asked for.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        return _listed(request, graph_id=graph_id)


class SchedulesView(APIView):
    """All schedules of the caller."""

    @extend_schema(
        tags=["schedules"],
        operation_id="list_schedules",
        summary="List your schedules",
        parameters=[ListQuerySerializer, *page_parameters(default=100)],
        responses={200: ScheduleInfoSerializer(many=True), **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Return a page of the schedules of all your graphs, newest first, without paused ones unless asked for.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        return _listed(request)


class PreviewView(APIView):
    """What a schedule would do."""

    @extend_schema(
        tags=["schedules"],
        operation_id="preview_schedule",
        summary="Tell when a cron expression fires",
        parameters=[PreviewQuerySerializer],
        responses={200: NextRunsSerializer, **error_responses(400, 401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Return the next times of an expression in a time zone, your profile's unless one is named."""
        query = checked_query(PreviewQuerySerializer, request)
        zone = query.get("timezone") or schedules.zone_of_user(user_of(request))
        return Response(_next_runs(query["cron"], zone, query["count"]))


class ScheduleView(APIView):
    """One schedule."""

    @extend_schema(
        tags=["schedules"],
        operation_id="get_schedule",
        summary="Get a schedule",
        responses={200: ScheduleInfoSerializer, **error_responses(401, 404)},
    )
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """Return the schedule, paused or not."""
        return Response(_info(_own(request, schedule_id)))

    @extend_schema(
        tags=["schedules"],
        operation_id="update_schedule",
        summary="Change a schedule",
        request=ScheduleChangeSerializer(partial=True),
        responses={200: ScheduleInfoSerializer, **error_responses(400, 401, 404, 413, 415, 422)},
    )
    def patch(self, request: Request, schedule_id: UUID) -> Response:
        """Change what the body names, and return the schedule; it fires at its new times from now on."""
        body = ScheduleChangeSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        changes = _by_column(body.validated_data)
        return Response(_info(schedules.update_schedule(user_of(request), schedule_id, changes)))

    @extend_schema(
        tags=["schedules"],
        operation_id="delete_schedule",
        summary="Delete a schedule",
        responses={200: DeletedScheduleSerializer, **error_responses(401, 404)},
    )
    def delete(self, request: Request, schedule_id: UUID) -> Response:
        """Delete the schedule; the runs that it started stay."""
        schedules.delete_schedule(user_of(request), schedule_id)
        return Response({"id": str(schedule_id)})


class PauseView(APIView):
    """Where schedules are paused."""

    @extend_schema(
        tags=["schedules"],
        operation_id="pause_schedule",
        summary="Pause a schedule",
        request=None,
        responses={200: ScheduleInfoSerializer, **error_responses(401, 404)},
    )
    def post(self, request: Request, schedule_id: UUID) -> Response:
        """Fire the schedule no more until it is resumed."""
        return Response(_info(schedules.pause_schedule(user_of(request), schedule_id)))


class ResumeView(APIView):
    """Where schedules go on."""

    @extend_schema(
        tags=["schedules"],
        operation_id="resume_schedule",
        summary="Resume a schedule",
        request=None,
        responses={200: ScheduleInfoSerializer, **error_responses(400, 401, 404)},
    )
    def post(self, request: Request, schedule_id: UUID) -> Response:
        """Fire the schedule from its next time on, if its graph can run; times that went by are not made up for."""
        return Response(_info(schedules.resume_schedule(user_of(request), schedule_id)))


class NextRunsView(APIView):
    """What a schedule will do."""

    @extend_schema(
        tags=["schedules"],
        operation_id="list_next_runs",
        summary="Tell when a schedule fires next",
        parameters=[CountQuerySerializer],
        responses={200: NextRunsSerializer, **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """Return the next times of the schedule, as if it were not paused."""
        count = checked_query(CountQuerySerializer, request)["count"]
        schedule = _own(request, schedule_id)
        return Response(_next_runs(schedule.cron, schedule.zone, count))


class FiresView(APIView):
    """What a schedule did."""

    @extend_schema(
        tags=["schedules"],
        operation_id="list_fires",
        summary="List what the times of a schedule led to",
        parameters=page_parameters(),
        responses={200: FireSerializer(many=True), **error_responses(401, 404, 422)},
    )
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """Return a page of the times that were acted on, newest first.

        The headers X-Total-Items, X-Total-Pages, X-Current-Page and X-Page-Size say where the page stands.
        """
        schedule = _own(request, schedule_id)
        page, pagination = Paging.of(request).cut(schedule.fires.order_by("-fire_at"))
        return Response(
            [
                {
                    "fire_time": _in_zone(fire.fire_at, schedule.zone),
                    "outcome": fire.outcome,
                    "graph_exec_id": fire.run_id and str(fire.run_id),
                    "reason": fire.reason,
                    "fired_at": time_text(fire.at),
                }
                for fire in page
            ],
            headers=page_headers(pagination),
        )


def _own(request: Request, schedule_id: UUID) -> Schedule:
    schedule = Schedule.objects.visible_to(user_of(request)).filter(pk=schedule_id).first()
    if schedule is None:
        raise NoSuchSchedule(schedule_id=str(schedule_id))
    return schedule


def _listed(request: Request, **of: UUID) -> Response:
    paging = Paging.of(request, default=100)
    mine = Schedule.objects.visible_to(user_of(request)).filter(**of)
    if not checked_query(ListQuerySerializer, request)["include_paused"]:
        mine = mine.filter(paused_at=None)
    page, pagination = paging.cut(mine.order_by("-created_at", "-pk"))
    return Response([_info(schedule) for schedule in page], headers=page_headers(pagination))


def _info(schedule: Schedule) -> dict[str, Any]:
    return {
        "id": str(schedule.pk),
        "schedule_id": str(schedule.pk),
        "name": schedule.name,
        "agent_name": schedule.agent_name,
        "user_id": str(schedule.user_id),
        "graph_id": str(schedule.graph_id),
        "graph_version": schedule.graph_version,
        "cron": schedule.cron,
        "input_data": schedule.inputs,
        "input_credentials": schedule.credential_inputs,
        "next_run_time": schedule.next_fire_at and _in_zone(schedule.next_fire_at, schedule.zone),
        "timezone": schedule.zone,
        "misfire_policy": schedule.misfire_policy,
        "catch_up_seconds": schedule.catch_up_seconds,
        "overlap_policy": schedule.overlap_policy,
        "max_credits": schedule.max_credits,
        "is_paused": schedule.paused_at is not None,
        "paused_at": time_text(schedule.paused_at),
        "pause_reason": schedule.pause_reason,
        "missed_count": schedule.missed_count,
        "last_run_id": schedule.last_run_id and str(schedule.last_run_id),
        "created_at": time_text(schedule.created_at),
    }


def _next_runs(expression: str, zone: str, count: int) -> dict[str, Any]:
    times = schedules.next_times(expression, zone, count)
    return {
        "cron": expression,
        "timezone": zone,
        "explanation": cron.Cron.parse(expression, zone).explain(),
        "next_run_times": [_in_zone(time, zone) for time in times],
    }


def _in_zone(time: datetime, zone: str) -> str:
    return time.astimezone(cron.zone_of(zone)).isoformat()


def _by_column(asked: dict[str, Any]) -> dict[str, Any]:
    return {_COLUMNS.get(name, name): value for name, value in asked.items()}
