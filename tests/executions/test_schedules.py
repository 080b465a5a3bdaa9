"""Schedules fire: each of their times starts one run, whoever looks how often."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from celery import current_app
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from config.beat import GuardedScheduler
from config.doctor import _schedules
from executions import queue, schedules, services
from executions.errors import NotRunnable, TooManySchedules
from executions.kinds import FireOutcome, Misfire, Overlap, Status
from executions.models import Fire, GraphExecution, Schedule
from executions.old_fires import forget_fires
from executions.schedules import ScheduleRequest, create_schedule, fire_due, pause_schedule, resume_schedule
from graphs.models import Graph
from graphs.services import delete_graph
from tests import make
from tests.workers import ROOT, environment

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def a_schedule(user: User, *, since: datetime = NOON, **asked: Any) -> Schedule:
    """A schedule that shouts every minute, and whose next time is the first from `since` on."""
    values = {"name": "shout", "cron": "* * * * *", "inputs": {"who": "all"}, "credential_inputs": {}, **asked}
    schedule = create_schedule(user, make.a_graph(user).graph_id, ScheduleRequest(**values))
    Schedule.objects.filter(pk=schedule.pk).update(next_fire_at=since)
    schedule.refresh_from_db()
    return schedule


def fires_of(schedule: Schedule) -> list[tuple[datetime, str]]:
    return [(fire.fire_at, fire.outcome) for fire in schedule.fires.order_by("fire_at")]


def runs_of(schedule: Schedule) -> list[GraphExecution]:
    return list(GraphExecution.objects.filter(graph=schedule.graph_id).order_by("trigger_key"))


def state_of(schedule: Schedule) -> tuple[datetime | None, int, str]:
    schedule.refresh_from_db()
    return schedule.next_fire_at, schedule.missed_count, schedule.pause_reason


def test_a_schedule_starts_a_run_when_it_is_due_and_moves_on(user: User):
    schedule = a_schedule(user)

    assert fire_due(NOON - timedelta(seconds=1)) == 0
    assert (fires_of(schedule), runs_of(schedule)) == ([], [])
    assert fire_due(NOON + timedelta(seconds=2)) == 1

    [run] = runs_of(schedule)
    assert run.trigger_key == f"schedule:{schedule.pk}:2026-01-05T12:00:00Z"
    assert (run.user_id, run.graph_version, run.inputs, run.status) == (user.pk, 1, {"who": "all"}, "QUEUED")
    assert fires_of(schedule) == [(NOON, "started")]
    assert schedule.fires.get().run_id == run.pk
    assert state_of(schedule) == (NOON + MINUTE, 0, "")
    assert schedule.last_run_id == run.pk
    assert fire_due(NOON + timedelta(seconds=30)) == 0
    assert len(runs_of(schedule)) == 1


def test_a_new_schedule_is_due_by_the_clock_of_the_database(user: User):
    schedule = create_schedule(
        user,
        make.a_graph(user).graph_id,
        ScheduleRequest(name="x", cron="* * * * *", inputs={"who": "x"}, credential_inputs={}),
    )
    assert schedule.next_fire_at is not None
    assert timedelta() < schedule.next_fire_at - timezone.now() <= MINUTE

    assert fire_due() == 0
    Schedule.objects.update(next_fire_at=schedule.next_fire_at - MINUTE)
    assert fire_due() == 1
    assert state_of(schedule)[0] == schedules.next_times("* * * * *", "UTC", 1)[0]


def test_ten_tickers_at_once_in_two_processes_start_every_run_once(owner: User):
    made = [a_schedule(owner, misfire_policy=Misfire.ALL) for _ in range(20)]
    moments = [(NOON + minute * MINUTE + timedelta(seconds=5)).isoformat() for minute in range(20)]

    command = [sys.executable, "-m", "tests.executions.tickers", "5", *moments]
    tickers = [subprocess.Popen(command, cwd=ROOT, env=environment()) for _ in range(2)]
    assert [ticker.wait(50) for ticker in tickers] == [0, 0]

    expected = [(NOON + minute * MINUTE, "started") for minute in range(20)]
    assert [fires_of(schedule) for schedule in made] == [expected] * 20
    runs = GraphExecution.objects.filter(user=owner)
    assert len({run.trigger_key for run in runs}) == len(runs) == 400
    assert {run.pk for run in runs} == set(Fire.objects.values_list("run_id", flat=True))
    assert [state_of(schedule) for schedule in made] == [(NOON + 20 * MINUTE, 0, "")] * 20


@pytest.mark.parametrize("moment", ["fire.after_start", "ring.before", "fire.before_commit", "fire.after_commit"])
def test_a_process_that_dies_while_it_fires_neither_loses_nor_doubles_a_run(owner: User, moment: str):
    made = [a_schedule(owner) for _ in range(3)]
    command = [sys.executable, "-m", "tests.executions.tickers", "1", NOON.isoformat()]
    dead = subprocess.run(command, cwd=ROOT, env=environment(TASKLOOM_FAILPOINTS=f"{moment}=exit@1"), timeout=30)
    assert dead.returncode == 9
    is_done = moment == "fire.after_commit"
    assert GraphExecution.objects.count() == Fire.objects.count() == (3 if is_done else 0)

    assert fire_due(NOON) == (0 if is_done else 3)

    assert [fires_of(schedule) for schedule in made] == [[(NOON, "started")]] * 3
    assert [len(runs_of(schedule)) for schedule in made] == [1, 1, 1]


def test_a_schedule_that_somebody_else_fires_is_passed_by(owner: User):
    held, free = a_schedule(owner), a_schedule(owner)
    with connection.copy().cursor() as other:
        other.execute("BEGIN")
        other.execute("SELECT id FROM executions_schedule WHERE id = %s FOR UPDATE", [held.pk])
        assert fire_due(NOON) == 1
        other.execute("ROLLBACK")
        other.connection.close()

    assert (fires_of(held), fires_of(free)) == ([], [(NOON, "started")])


def test_a_time_that_has_its_row_starts_nothing_again(user: User):
    schedule = a_schedule(user)
    fire_due(NOON)
    Schedule.objects.update(next_fire_at=NOON)

    assert fire_due(NOON) == 1

    assert (fires_of(schedule), len(runs_of(schedule))) == ([(NOON, "started")], 1)
    assert state_of(schedule) == (NOON + MINUTE, 0, "")


@pytest.mark.parametrize(
    ("policy", "started", "missed"),
    [
        (Misfire.SKIP, [], 61),
        (Misfire.ONCE, [60], 60),
        (Misfire.ALL, [*range(31, 61)], 31),
    ],
)
def test_after_an_hour_without_beat_the_policy_decides(user: User, policy: Misfire, started: list[int], missed: int):
    schedule = a_schedule(user, misfire_policy=policy, catch_up_seconds=1800)

    fire_due(NOON + 60 * MINUTE + timedelta(seconds=59, microseconds=1))

    assert fires_of(schedule) == [(NOON + minute * MINUTE, "started") for minute in started]
    assert state_of(schedule) == (NOON + 61 * MINUTE, missed, "")


def test_a_time_seen_within_a_minute_is_not_late_for_any_policy(user: User):
    made = [a_schedule(user, misfire_policy=policy) for policy in Misfire]

    fire_due(NOON + timedelta(seconds=50))

    assert [fires_of(schedule) for schedule in made] == [[(NOON, "started")]] * 3
    assert [state_of(schedule)[1] for schedule in made] == [0, 0, 0]


def test_what_is_made_up_for_comes_a_hundred_at_a_time(user: User):
    schedule = a_schedule(user, misfire_policy=Misfire.ALL, catch_up_seconds=4 * 3600)
    late = NOON + 149 * MINUTE

    assert fire_due(late) == 1
    assert (len(runs_of(schedule)), state_of(schedule)) == (100, (NOON + 100 * MINUTE, 0, ""))
    assert fire_due(late) == 1
    assert (len(runs_of(schedule)), state_of(schedule)) == (150, (NOON + 150 * MINUTE, 0, ""))
    assert fire_due(late) == 0


def test_a_year_of_silence_is_over_at_once(user: User):
    schedule = a_schedule(user)
    now = NOON + timedelta(days=365)

    fire_due(now)

    assert fires_of(schedule) == [(now, "started")]
    assert state_of(schedule) == (now + MINUTE, schedules.MAX_COUNTED, "")


def test_with_overlap_skip_a_run_under_way_keeps_the_next_from_starting(user: User):
    schedule = a_schedule(user, overlap_policy=Overlap.SKIP)
    fire_due(NOON)
    [first] = runs_of(schedule)

    fire_due(NOON + MINUTE)
    assert fires_of(schedule) == [(NOON, "started"), (NOON + MINUTE, "overlapped")]
    assert schedule.fires.order_by("fire_at").last().reason == "The run that was started before is still under way."  # type: ignore[union-attr]
    assert runs_of(schedule) == [first]

    services.stop_run(first.pk)
    fire_due(NOON + 2 * MINUTE)
    assert fires_of(schedule)[2] == (NOON + 2 * MINUTE, "started")
    assert len(runs_of(schedule)) == 2


def test_with_overlap_allow_runs_are_started_beside_each_other(user: User):
    schedule = a_schedule(user)

    fire_due(NOON)
    fire_due(NOON + MINUTE)

    assert [run.status for run in runs_of(schedule)] == [Status.QUEUED, Status.QUEUED]


def test_a_schedule_whose_graph_is_gone_pauses_itself_and_holds_up_no_other(owner: User):
    gone, other = a_schedule(owner), a_schedule(owner)
    fire_due(NOON)
    delete_graph(owner, gone.graph_id)

    assert fire_due(NOON + MINUTE) == 2

    reason = "There is no such graph, or it is not yours."
    assert state_of(gone) == (None, 0, reason)
    assert fires_of(gone) == [(NOON, "started"), (NOON + MINUTE, "refused")]
    assert gone.last_run_id is None
    assert state_of(other) == (NOON + 2 * MINUTE, 0, "")
    assert fire_due(NOON + 2 * MINUTE) == 1
    assert len(fires_of(gone)) == 2


def test_a_schedule_whose_graph_cannot_run_pauses_itself_until_it_can(user: User):
    schedule = a_schedule(user)
    Schedule.objects.update(inputs={})

    fire_due(NOON)

    _, _, reason = state_of(schedule)
    assert reason.startswith("The graph cannot run with these inputs.")
    assert (fires_of(schedule), runs_of(schedule)) == ([(NOON, FireOutcome.REFUSED)], [])
    with pytest.raises(NotRunnable):
        resume_schedule(user, schedule.pk)
    assert state_of(schedule)[0] is None
    schedules.update_schedule(user, schedule.pk, {"inputs": {"who": "again"}})
    assert resume_schedule(user, schedule.pk).pause_reason == ""
    assert state_of(schedule)[0] is not None


def test_a_user_who_is_switched_off_starts_nothing(user: User):
    schedule = a_schedule(user)
    User.objects.update(is_active=False)

    fire_due(NOON)

    assert (state_of(schedule), runs_of(schedule)) == ((None, 0, "The account is switched off."), [])


def test_what_went_by_while_a_schedule_was_paused_is_not_made_up_for(user: User):
    schedule = a_schedule(user, misfire_policy=Misfire.ALL)
    pause_schedule(user, schedule.pk)
    assert fire_due(NOON + 10 * MINUTE) == 0

    resumed = resume_schedule(user, schedule.pk)

    assert resumed.next_fire_at is not None
    assert resumed.next_fire_at > timezone.now() - timedelta(seconds=1)
    assert (fires_of(schedule), runs_of(schedule), state_of(schedule)[1]) == ([], [], 0)


def test_a_schedule_follows_the_clocks_of_its_zone(user: User):
    before = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    schedule = a_schedule(user, cron="30 2 * * *", zone="Europe/Berlin", since=before)
    days = timedelta(days=1)

    for day in range(3):
        fire_due(before + day * days + timedelta(minutes=5))

    expected = [before, datetime(2026, 3, 29, 1, 0, tzinfo=UTC), datetime(2026, 3, 30, 0, 30, tzinfo=UTC)]
    assert [fire_at for fire_at, _ in fires_of(schedule)] == expected


def test_a_time_that_the_rules_of_a_zone_have_moved_meanwhile_is_looked_up_anew(user: User):
    schedule = a_schedule(user, cron="0 13 * * *", since=NOON)

    fire_due(NOON)

    assert (fires_of(schedule), state_of(schedule)) == ([], (NOON + 60 * MINUTE, 0, ""))


def test_deleting_a_graph_or_a_user_leaves_nothing_that_fails(owner: User):
    schedule = a_schedule(owner)
    fire_due(NOON)
    Graph.objects.filter(pk=schedule.graph_id).delete()
    assert Schedule.objects.count() == 1

    owner.delete()

    assert (Schedule.objects.count(), Fire.objects.count(), fire_due(NOON + MINUTE)) == (0, 0, 0)


def test_looking_when_nothing_is_due_costs_two_queries_whatever_there_is(user: User):
    for _ in range(5):
        a_schedule(user)

    with CaptureQueriesContext(connection) as queries:
        assert fire_due(NOON - MINUTE) == 0

    asked = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(asked) == 2


def test_one_user_has_a_bounded_number_of_schedules(user: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 2)
    for _ in range(2):
        a_schedule(user)

    with pytest.raises(TooManySchedules):
        a_schedule(user)

    assert Schedule.objects.count() == 2


def test_the_doctor_finds_schedules_ill_that_nobody_fires(owner: User):
    schedule = a_schedule(owner, since=timezone.now() + MINUTE)
    assert (_schedules().ok, _schedules().message) == (True, "none is due")
    Schedule.objects.update(next_fire_at=timezone.now() - timedelta(seconds=30))
    assert _schedules().ok

    Schedule.objects.update(next_fire_at=timezone.now() - timedelta(seconds=100))

    ill = _schedules()
    assert not ill.ok
    assert ill.message.startswith("due for 1")
    assert ill.message.endswith(str(schedule.pk))
    assert "Start beat" in ill.cure


def test_beat_sends_what_fires_schedules(transactional_db: None):
    scheduler = GuardedScheduler(app=current_app)
    try:
        entry = scheduler.schedule["fire schedules"]
        assert (entry.task, entry.schedule.run_every) == (queue.FIRE_SCHEDULES, timedelta(seconds=5))
        assert entry.options["expires"] == 60
    finally:
        scheduler.close()


def test_the_task_of_beat_fires_what_is_due(owner: User):
    schedule = a_schedule(owner)

    current_app.loader.import_default_modules()
    current_app.tasks[queue.FIRE_SCHEDULES]()

    assert [outcome for _, outcome in fires_of(schedule)] == ["started"]


@pytest.fixture
def told() -> Callable[[Schedule], list[str]]:
    """What `manage.py why` says of a schedule."""

    def ask(schedule: Schedule) -> list[str]:
        output = StringIO()
        call_command("why", str(schedule.pk), stdout=output)
        return output.getvalue().splitlines()

    return ask


def test_why_tells_when_a_schedule_fires_and_why_it_does_not(owner: User, told: Callable[[Schedule], list[str]]):
    schedule = a_schedule(owner)
    assert told(schedule) == ["It fires next at 2026-01-05T12:00:00Z (shout: * * * * * UTC)."]
    fire_due(NOON + 3 * MINUTE)
    [run] = runs_of(schedule)
    assert told(schedule) == [
        "It fires next at 2026-01-05T12:04:00Z (shout: * * * * * UTC).",
        f"Its time at 2026-01-05T12:03:00Z started run {run.pk}",
        "3 of its times went by unnoticed and were not made up for.",
    ]
    delete_graph(owner, schedule.graph_id)
    fire_due(NOON + 4 * MINUTE)
    [paused, last, _] = told(schedule)
    reason = "There is no such graph, or it is not yours."
    assert paused.startswith("Paused since 20")
    assert paused.endswith(f": {reason}")
    assert last == f"Its time at 2026-01-05T12:04:00Z started nothing: {reason}"


def test_what_schedules_did_months_ago_is_forgotten_but_for_the_last_time(user: User):
    old, rare, paused = a_schedule(user), a_schedule(user), a_schedule(user)
    today = datetime.now(UTC).replace(second=0, microsecond=0)
    for minute in range(3):
        fire_due(NOON + minute * MINUTE)
    Schedule.objects.update(next_fire_at=today + DAY)
    Schedule.objects.filter(pk=old.pk).update(next_fire_at=today - 80 * DAY)
    fire_due(today - 80 * DAY)
    pause_schedule(user, paused.pk)
    runs = GraphExecution.objects.count()

    forget_fires()
    forget_fires()
    assert fires_of(old) == [(today - 80 * DAY, "started")]
    assert fires_of(rare) == fires_of(paused) == [(NOON + 2 * MINUTE, "started")]
    assert "Its time at 2026-01-05T12:02:00Z started run" in schedules.about(rare.pk)[1]
    for schedule in (old, rare):
        Schedule.objects.filter(pk=schedule.pk).update(next_fire_at=NOON)
    fire_due(NOON + 2 * MINUTE)
    assert GraphExecution.objects.count() == runs


def test_a_time_that_is_not_yet_acted_on_is_not_forgotten(user: User):
    late = a_schedule(user, misfire_policy=Misfire.ALL)
    Fire.objects.create(schedule=late, fire_at=NOON + MINUTE, outcome="started")
    Fire.objects.create(schedule=late, fire_at=NOON + 2 * MINUTE, outcome="started")
    forget_fires()
    assert [at for at, _ in fires_of(late)] == [NOON + MINUTE, NOON + 2 * MINUTE]
