"""Decide about schedules and fire them; each function is one transaction but `fire_due`, which is one for each batch.

A time of a schedule becomes a run once: whoever fires it has its row locked, leaves a row that is unique for the time,
starts the run under a key that is made of it, and moves `next_fire_at` on, all in one transaction.
"""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction

from accounts.models import User
from core import json
from core.errors import DomainError
from credits.errors import InsufficientCredits
from credits.notices import tell_refused_schedule
from executions import services
from executions.cron import Cron
from executions.errors import InputsTooLarge, KeyReused, NoSuchSchedule, TooManySchedules
from executions.failpoints import failpoint
from executions.kinds import FINAL, FireOutcome, Misfire, Overlap
from executions.models import Fire, GraphExecution, Schedule
from executions.reading import rows_of, time_text
from graphs.models import GraphVersion
from graphs.services import find_version

log = logging.getLogger(__name__)

MAX_SCHEDULES = 1000
MAX_INPUT_BYTES = 256 * 1024
MAX_CATCH_UP_SECONDS = 7 * 86_400
MAX_LISTED_TIMES = 100
# A time that is seen within this is not late. Less than a minute, so that only one of a schedule's can be.
GRACE = timedelta(seconds=59)
# Of one schedule in one look; what is left is due at the next.
MAX_FIRES = 100
# Counting every minute of a long silence would hold others up.
MAX_COUNTED = 1000
_FAR = timedelta(days=50 * 366)
_BATCH = 50
_MOST_SECONDS = 3.0
_NO_ZONE = "not-set"
_STILL_RUNNING = "The run that was started before is still under way."
_SWITCHED_OFF = "The account is switched off."
# What a change of them can make a graph unable to run with.
_OF_RUN = {"graph_version", "inputs", "credential_inputs"}
_OF_TIMES = {"cron", "zone"}
_MOVED_ON = ("next_fire_at", "missed_count", "last_run")
_PAUSED = (*_MOVED_ON, "paused_at", "pause_reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """What a schedule is made with. Without a version it is the graph's highest, without a zone the user's."""

    name: str
    cron: str
    inputs: Mapping[str, Any]
    credential_inputs: Mapping[str, Any]
    graph_version: int | None = None
    zone: str | None = None
    misfire_policy: Misfire = Misfire.ONCE
    catch_up_seconds: int = 3600
    overlap_policy: Overlap = Overlap.ALLOW
    max_credits: int | None = None
    request_key: str | None = None
    request_hash: str = ""


def create_schedule(user: User, graph_id: UUID, request: ScheduleRequest) -> Schedule:
    """Save a schedule of one of the user's graphs; it fires for the first time after now.

    With a `request_key` that made a schedule before, that one is returned and nothing is made, or `KeyReused` raised
    if it was made with another `request_hash`. Raises `CronInvalid`, `ZoneUnknown`, `TooManySchedules`, and what
    `start_run` raises for a run that could not start.
    """
    zone = request.zone or zone_of_user(user)
    cron = Cron.parse(request.cron, zone)
    version = _runnable(user, graph_id, request.graph_version, request.inputs, request.credential_inputs)
    with transaction.atomic():
        _one_at_a_time(user)
        if request.request_key is not None and (made := _made_by(user, request)):
            return made
        if Schedule.objects.visible_to(user).count() >= MAX_SCHEDULES:
            raise TooManySchedules(f"You have {MAX_SCHEDULES} schedules, as many as one user may have")
        schedule = Schedule.objects.create(
            user=user,
            graph_id=graph_id,
            graph_version=version.version,
            agent_name=version.name,
            name=request.name,
            inputs=request.inputs,
            credential_inputs=request.credential_inputs,
            max_credits=request.max_credits,
            cron=request.cron,
            zone=zone,
            misfire_policy=request.misfire_policy,
            catch_up_seconds=request.catch_up_seconds,
            overlap_policy=request.overlap_policy,
            next_fire_at=cron.next_after(_now()),
            request_key=request.request_key,
            request_hash=request.request_hash,
        )
    schedule.refresh_from_db()
    return schedule


def update_schedule(user: User, schedule_id: UUID, changes: Mapping[str, Any]) -> Schedule:
    """Change columns of a schedule; other times hold from now on, and what a run gets from the next one on.

    Raises `NoSuchSchedule` and what `create_schedule` raises for such values.
    """
    with transaction.atomic():
        schedule = _locked(user, schedule_id)
        for name, value in changes.items():
            setattr(schedule, name, value)
        if _OF_RUN & changes.keys():
            schedule.agent_name = _runnable_by(schedule, user).name
        if _OF_TIMES & changes.keys():
            cron = Cron.parse(schedule.cron, schedule.zone)
            schedule.next_fire_at = None if schedule.paused_at else cron.next_after(_now())
        schedule.save()
    return schedule


def pause_schedule(user: User, schedule_id: UUID) -> Schedule:
    """Fire a schedule no more until it is resumed; one that is paused stays as it is. Raises `NoSuchSchedule`."""
    with transaction.atomic():
        schedule = _locked(user, schedule_id)
        if schedule.paused_at is None:
            _pause(schedule)
    return schedule


def resume_schedule(user: User, schedule_id: UUID) -> Schedule:
    """Fire a schedule again from its next time on; what went by while it was paused is not made up for.

    One that is not paused stays as it is. Raises `NoSuchSchedule` and what `start_run` raises for a run that could not
    start.
    """
    with transaction.atomic():
        schedule = _locked(user, schedule_id)
        if schedule.paused_at is not None:
            _runnable_by(schedule, user)
            schedule.paused_at, schedule.pause_reason = None, ""
            schedule.next_fire_at = Cron.parse(schedule.cron, schedule.zone).next_after(_now())
            schedule.save()
    return schedule


def delete_schedule(user: User, schedule_id: UUID) -> None:
    """Delete a schedule and what is known of its times; its runs stay. Raises `NoSuchSchedule`."""
    with transaction.atomic():
        _locked(user, schedule_id).delete()


def next_times(cron: str, zone: str, count: int) -> list[datetime]:
    """The next times that an expression names; raises `CronInvalid` and `ZoneUnknown`."""
    now = _now()
    return list(islice(Cron.parse(cron, zone).between(now, now + _FAR), count))


def zone_of_user(user: User) -> str:
    """The time zone of the user's profile, UTC if they have chosen none."""
    return "UTC" if user.time_zone in ("", _NO_ZONE) else user.time_zone


def about(schedule_id: UUID) -> list[str]:
    """What a schedule waits for and what it did last, in sentences. Raises `NoSuchSchedule`."""
    schedule = Schedule.objects.filter(pk=schedule_id).first()
    if schedule is None:
        raise NoSuchSchedule(schedule_id=str(schedule_id))
    sentences = []
    if schedule.paused_at is None:
        sentences.append(f"It fires next at {time_text(schedule.next_fire_at)} ({schedule}).")
    else:
        reason = schedule.pause_reason or "Somebody paused it."
        sentences.append(f"Paused since {time_text(schedule.paused_at)}: {reason}")
    last = schedule.fires.order_by("-fire_at").first()
    if last is not None:
        led_to = f"started run {last.run_id}" if last.run_id else f"started nothing: {last.reason}"
        sentences.append(f"Its time at {time_text(last.fire_at)} {led_to}")
    if schedule.missed_count:
        sentences.append(f"{schedule.missed_count} of its times went by unnoticed and were not made up for.")
    return sentences


def fire_due(now: datetime | None = None) -> int:
    """Start the runs of all schedules that are due by the database's clock, or at `now`; returns how many there were.

    Any number of processes may do this at once. It ends after a few seconds at the latest; what is left stays due.
    """
    looked_at: set[UUID] = set()
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        batch = _fire_batch(now or _now(), looked_at)
        if not batch:
            break
        looked_at |= batch
    return len(looked_at)


def _fire_batch(now: datetime, but: Collection[UUID]) -> set[UUID]:
    with transaction.atomic():
        due = Schedule.objects.due(now).exclude(pk__in=but).select_related("user").claimed()
        schedules = list(due[:_BATCH])
        # Otherwise a graph that is deleted this moment is noticed by the commit only, and fails the whole batch.
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for schedule in schedules:
            try:
                with transaction.atomic():
                    _fire(schedule, now)
            except DomainError as error:
                schedule.refresh_from_db()
                _pause(schedule, error.message)
            except (OperationalError, InterfaceError):
                raise
            # A fault in one schedule must not keep the others from firing; it is tried again at the next look.
            except Exception:
                log.exception("Schedule %s could not fire", schedule.pk)
        failpoint("fire.before_commit")
    failpoint("fire.after_commit")
    return {schedule.pk for schedule in schedules}


def _fire(schedule: Schedule, now: datetime) -> None:
    """Act on the times of a schedule up to now, and move it on. Its row is locked."""
    cron = Cron.parse(schedule.cron, schedule.zone)
    first = schedule.next_fire_at
    if first is None:
        return
    wanted, missed = _wanted(schedule, cron, first, now)
    schedule.missed_count += missed
    for fire_at in wanted:
        reason = _fire_once(schedule, fire_at)
        if reason:
            log.warning("Schedule %s pauses itself: %s", schedule.pk, reason)
            _pause(schedule, reason)
            return
    schedule.next_fire_at = cron.next_after(wanted[-1] if len(wanted) == MAX_FIRES else now)
    schedule.save(update_fields=_MOVED_ON)


def _wanted(schedule: Schedule, cron: Cron, first: datetime, now: datetime) -> tuple[list[datetime], int]:
    """The times from `first` up to now that shall start runs, and how many before them shall not."""
    if schedule.misfire_policy == Misfire.ONCE:
        begin = cron.latest(first, now)
    else:
        window = GRACE if schedule.misfire_policy == Misfire.SKIP else timedelta(seconds=schedule.catch_up_seconds)
        begin = max(first, now - window)
    instant = timedelta(microseconds=1)
    missed = len(list(islice(cron.between(first - instant, begin - instant), MAX_COUNTED)))
    return list(islice(cron.between(begin - instant, now), MAX_FIRES)), missed


def _fire_once(schedule: Schedule, fire_at: datetime) -> str:
    """Start the run of one time unless that was done before; returns why the schedule cannot go on, if so."""
    if schedule.fires.filter(fire_at=fire_at).exists():
        return ""
    if not schedule.user.is_active:
        return _SWITCHED_OFF
    last = schedule.last_run_id
    if schedule.overlap_policy == Overlap.SKIP and _is_under_way(last):
        _record(schedule, fire_at, FireOutcome.OVERLAPPED, reason=_STILL_RUNNING)
        return ""
    try:
        with transaction.atomic():
            run = services.start_run(
                schedule.graph_id,
                schedule.graph_version,
                user_id=schedule.user_id,
                inputs=schedule.inputs,
                credential_inputs=schedule.credential_inputs,
                max_credits=schedule.max_credits,
                trigger_key=f"schedule:{schedule.pk}:{time_text(fire_at)}",
            )
            failpoint("fire.after_start")
    except DomainError as error:
        if isinstance(error, InsufficientCredits):
            tell_refused_schedule(schedule.user_id, schedule.graph_id, schedule.pk)
        _record(schedule, fire_at, FireOutcome.REFUSED, reason=error.message)
        return error.message
    _record(schedule, fire_at, FireOutcome.STARTED, run_id=run.pk)
    schedule.last_run = run
    return ""


def _is_under_way(run_id: UUID | None) -> bool:
    return run_id is not None and GraphExecution.objects.filter(pk=run_id).exclude(status__in=FINAL).exists()


def _record(
    schedule: Schedule, fire_at: datetime, outcome: FireOutcome, *, run_id: UUID | None = None, reason: str = ""
) -> None:
    Fire.objects.create(schedule=schedule, fire_at=fire_at, outcome=outcome, run_id=run_id, reason=reason)


def _pause(schedule: Schedule, reason: str = "") -> None:
    schedule.next_fire_at, schedule.pause_reason = None, reason
    schedule.paused_at = _now()
    schedule.save(update_fields=_PAUSED)


def _runnable_by(schedule: Schedule, user: User) -> GraphVersion:
    """What a schedule runs, if it can; raises what `create_schedule` raises for a run that could not start."""
    return _runnable(user, schedule.graph_id, schedule.graph_version, schedule.inputs, schedule.credential_inputs)


def _runnable(
    user: User, graph_id: UUID, version: int | None, inputs: Mapping[str, Any], credential_inputs: Mapping[str, Any]
) -> GraphVersion:
    size = len(json.encode([inputs, credential_inputs]))
    if size > MAX_INPUT_BYTES:
        raise InputsTooLarge(f"The inputs take {size:,} bytes as JSON; a schedule keeps at most {MAX_INPUT_BYTES:,}")
    # What is known of a version outlives its graph: that it is still there is looked up.
    found = find_version(GraphVersion.objects.visible_to(user), graph_id, version)
    services.check_run(graph_id, found.version, user_id=user.pk, inputs=inputs, credential_inputs=credential_inputs)
    return found


def _locked(user: User, schedule_id: UUID) -> Schedule:
    schedule = Schedule.objects.visible_to(user).filter(pk=schedule_id).locked().first()
    if schedule is None:
        raise NoSuchSchedule(schedule_id=str(schedule_id))
    return schedule


def _made_by(user: User, request: ScheduleRequest) -> Schedule | None:
    made = Schedule.objects.visible_to(user).filter(request_key=request.request_key).first()
    if made is not None and made.request_hash != request.request_hash:
        raise KeyReused("This key has made a schedule by another request", schedule_id=str(made.pk))
    return made


def _one_at_a_time(user: User) -> None:
    """Wait for others that make schedules of this user, so that what is counted stays true until the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"schedules of {user.pk}"])


def _now() -> datetime:
    [(now,)] = rows_of("SELECT clock_timestamp()", [])
    return now  # type: ignore[no-any-return]  # that is what it selects
