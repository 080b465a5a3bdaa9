"""Schedules over HTTP."""

from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Role, User
from executions.models import GraphExecution, Schedule
from executions.schedules import MAX_INPUT_BYTES, fire_due
from graphs.models import GraphVersion
from graphs.schemas import GraphDraft
from graphs.services import delete_graph, save_version
from tests import make

BODY = {"name": "every morning", "cron": "30 9 * * MON-FRI", "inputs": {"who": "all"}}


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """What runs."""
    return make.a_graph(user)


@pytest.fixture
def address(graph: GraphVersion) -> str:
    """Where its schedules are."""
    return f"/api/graphs/{graph.graph_id}/schedules"


@pytest.fixture
def made(api: APIClient, address: str) -> dict[str, Any]:
    """A schedule."""
    return posted(api, address)


def posted(api: APIClient, address: str, **changes: Any) -> dict[str, Any]:
    answer = api.post(address, {**BODY, **changes}, format="json")
    assert answer.status_code == 200, answer.json()
    return dict(answer.json())


def at(schedule: dict[str, Any]) -> str:
    return f"/api/schedules/{schedule['id']}"


def test_a_schedule_is_made_and_told_with_its_next_time_in_its_zone(
    api: APIClient, user: User, graph: GraphVersion, address: str
):
    credentials = {"key": {"id": "c1", "provider": "github", "type": "api_key", "title": "mine"}}

    schedule = posted(api, address, timezone="Asia/Tokyo", credentials=credentials)

    row = Schedule.objects.get()
    next_time = datetime.fromisoformat(schedule.pop("next_run_time"))
    assert (next_time.hour, next_time.minute, next_time.utcoffset()) == (
        9,
        30,
        timezone.now().astimezone(ZoneInfo("Asia/Tokyo")).utcoffset(),
    )
    assert next_time == row.next_fire_at
    assert datetime.fromisoformat(schedule.pop("created_at")) == row.created_at
    assert schedule == {
        "id": str(row.pk),
        "schedule_id": str(row.pk),
        "name": "every morning",
        "agent_name": "drawn",
        "user_id": str(user.pk),
        "graph_id": str(graph.graph_id),
        "graph_version": 1,
        "cron": "30 9 * * MON-FRI",
        "input_data": {"who": "all"},
        "input_credentials": credentials,
        "timezone": "Asia/Tokyo",
        "misfire_policy": "once",
        "catch_up_seconds": 3600,
        "overlap_policy": "allow",
        "max_credits": None,
        "is_paused": False,
        "paused_at": None,
        "pause_reason": "",
        "missed_count": 0,
        "last_run_id": None,
    }
    assert GraphExecution.objects.count() == 0


@pytest.mark.parametrize(
    ("sent", "profile", "expected"),
    [
        ("Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo"),
        (None, "Europe/Berlin", "Europe/Berlin"),
        (None, "not-set", "UTC"),
    ],
)
def test_the_zone_is_the_bodys_or_the_profiles_or_utc(
    api: APIClient, user: User, address: str, sent: str | None, profile: str, expected: str
):
    User.objects.update(time_zone=profile)
    user.refresh_from_db()
    api.force_authenticate(user)

    assert posted(api, address, timezone=sent)["timezone"] == expected


def test_without_a_version_the_highest_is_kept_whatever_is_saved_later(
    api: APIClient, user: User, graph: GraphVersion, address: str
):
    save_version(user, graph.graph_id, GraphDraft.model_validate(make.a_drawing(name="second")))
    schedule = posted(api, address)
    assert (schedule["graph_version"], schedule["agent_name"]) == (2, "second")
    save_version(user, graph.graph_id, GraphDraft.model_validate(make.a_drawing()))

    assert api.get(at(schedule)).json()["graph_version"] == 2
    assert posted(api, address, graph_version=1)["graph_version"] == 1


@pytest.mark.parametrize(
    ("changes", "status", "code", "message"),
    [
        ({"cron": "61 * * * *"}, 400, "cron_invalid", 'The minute "61" in "61 * * * *" is not 0-59'),
        ({"cron": "0 0 30 2 *"}, 400, "cron_invalid", "There is no day"),
        ({"cron": "* * * * * *"}, 400, "cron_invalid", "has 6 fields"),
        ({"timezone": "Mars/Olympus"}, 400, "zone_unknown", 'There is no time zone "Mars/Olympus"'),
        ({"inputs": {}}, 400, "not_runnable", 'give "who" in inputs'),
        ({"inputs": {"who": "x" * MAX_INPUT_BYTES}}, 400, "inputs_too_large", "at most 262,144"),
        ({"graph_version": 9}, 404, "graph_not_found", "version 9"),
        ({"name": ""}, 422, "request_invalid", "body.name"),
        ({"cron": "0," * 200 + "0 * * * *"}, 422, "request_invalid", "body.cron"),
        ({"inputs": []}, 422, "request_invalid", "body.inputs"),
        ({"misfire_policy": "twice"}, 422, "request_invalid", "body.misfire_policy"),
        ({"overlap_policy": "queue"}, 422, "request_invalid", "body.overlap_policy"),
        ({"catch_up_seconds": 10**9}, 422, "request_invalid", "body.catch_up_seconds"),
        ({"credentials": {"key": "secret"}}, 422, "request_invalid", "body.credentials.key"),
        *[
            ({"max_credits": amount}, 422, "request_invalid", "body.max_credits: Input should be a whole number")
            for amount in ("30", "1_000", 30.0, 1.5, True)
        ],
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_made(
    api: APIClient, address: str, changes: dict[str, Any], status: int, code: str, message: str
):
    answer = api.post(address, {**BODY, **changes}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert message in answer.json()["message"]
    assert Schedule.objects.count() == 0


def test_a_repeated_request_makes_one_schedule_and_another_with_its_key_none(api: APIClient, address: str):
    first = api.post(address, BODY, format="json", headers={"Idempotency-Key": "k"})
    again = api.post(address, BODY, format="json", headers={"Idempotency-Key": "k"})
    other = api.post(address, {**BODY, "name": "x"}, format="json", headers={"Idempotency-Key": "k"})

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert first.json() == again.json()
    assert (other.json()["code"], other.json()["schedule_id"]) == ("key_reused", first.json()["id"])
    assert Schedule.objects.count() == 1


def test_lists_have_the_newest_first_and_leave_out_what_is_paused(api: APIClient, user: User, address: str):
    elsewhere = f"/api/graphs/{make.a_graph(user).graph_id}/schedules"
    first, second, third = posted(api, address), posted(api, address), posted(api, elsewhere)
    assert api.get(address).json() == [second, first]
    assert api.get("/api/schedules").json() == [third, second, first]
    assert api.get(f"/api/graphs/{uuid4()}/schedules").json() == []

    paused = api.post(f"{at(second)}/pause").json()

    assert api.get(address).json() == [first]
    assert api.get(f"{address}?include_paused=true").json() == [paused, first]
    page = api.get("/api/schedules?include_paused=true&page=2&page_size=2")
    assert (page.json(), page["X-Total-Items"], page["X-Total-Pages"]) == ([first], "3", "2")
    assert api.get("/api/schedules?include_paused=perhaps").status_code == 422


def test_a_list_costs_the_same_however_long_it_is(api: APIClient, address: str):
    counts = []
    for _ in range(2):
        posted(api, address)
        with CaptureQueriesContext(connection) as queries:
            assert api.get("/api/schedules").status_code == 200
        counts.append(len(queries))
    assert counts == [1, 1]


def test_a_schedule_is_changed_where_the_body_says_so(api: APIClient, address: str, made: dict[str, Any]):
    changed = api.patch(at(made), {"name": "hourly", "cron": "0 * * * *", "timezone": "Asia/Kathmandu"}, format="json")

    assert changed.status_code == 200
    next_time = datetime.fromisoformat(changed.json()["next_run_time"])
    assert (next_time.minute, str(next_time.utcoffset())) == (0, "5:45:00")
    expected = {**made, "name": "hourly", "cron": "0 * * * *", "timezone": "Asia/Kathmandu"}
    assert changed.json() == {**expected, "next_run_time": changed.json()["next_run_time"]}
    assert api.get(at(made)).json() == changed.json()
    assert api.patch(at(made), {}, format="json").json() == changed.json()


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"cron": "0 0 31 2 *"}, 400, "cron_invalid"),
        ({"timezone": "x"}, 400, "zone_unknown"),
        ({"inputs": {}}, 400, "not_runnable"),
        ({"graph_version": 7}, 404, "graph_not_found"),
        ({"timezone": None}, 422, "request_invalid"),
        ({"graph_version": 0}, 422, "request_invalid"),
        ({"max_credits": "30"}, 422, "request_invalid"),
        ({"max_credits": 30.0}, 422, "request_invalid"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    api: APIClient, made: dict[str, Any], changes: dict[str, Any], status: int, code: str
):
    answer = api.patch(at(made), {"name": "new", **changes}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.get(at(made)).json() == made


def test_what_is_not_to_be_changed_is_left_alone(api: APIClient, made: dict[str, Any]):
    smuggled = {
        "id": str(uuid4()),
        "user": str(uuid4()),
        "user_id": str(uuid4()),
        "graph_id": str(uuid4()),
        "next_fire_at": "2000-01-01T00:00:00Z",
        "paused_at": "2000-01-01T00:00:00Z",
        "pause_reason": "x",
        "missed_count": 7,
        "last_run_id": str(uuid4()),
        "agent_name": "x",
        "request_key": "x",
        "zone": "x",
        "credential_inputs": {"x": 1},
    }

    assert api.patch(at(made), smuggled, format="json").json() == made


def test_a_paused_schedule_has_no_next_time_until_it_is_resumed(api: APIClient, made: dict[str, Any]):
    paused = api.post(f"{at(made)}/pause").json()
    assert (paused["is_paused"], paused["next_run_time"], paused["pause_reason"]) == (True, None, "")
    assert api.post(f"{at(made)}/pause").json() == paused
    changed = api.patch(at(made), {"cron": "0 0 * * *"}, format="json").json()
    assert changed == {**paused, "cron": "0 0 * * *"}

    resumed = api.post(f"{at(made)}/resume").json()

    assert (resumed["is_paused"], resumed["paused_at"]) == (False, None)
    assert datetime.fromisoformat(resumed["next_run_time"]).strftime("%H:%M") == "00:00"
    assert api.post(f"{at(made)}/resume").json() == resumed


def test_a_schedule_that_paused_itself_says_why_and_is_not_resumed_before_it_can_run(
    api: APIClient, user: User, graph: GraphVersion, made: dict[str, Any]
):
    delete_graph(user, graph.graph_id)
    fire_due(Schedule.objects.get().next_fire_at)

    shown = api.get(at(made)).json()
    assert (shown["is_paused"], shown["next_run_time"]) == (True, None)
    assert shown["pause_reason"] == "There is no such graph, or it is not yours."
    refused = api.post(f"{at(made)}/resume")
    assert (refused.status_code, refused.json()["code"]) == (404, "graph_not_found")
    assert api.get(at(made)).json() == shown
    [fire] = api.get(f"{at(made)}/fires").json()
    assert (fire["outcome"], fire["graph_exec_id"], fire["reason"]) == ("refused", None, shown["pause_reason"])


def test_what_became_of_each_time_is_listed_newest_first(api: APIClient, address: str):
    made = posted(api, address, cron="* * * * *", timezone="Europe/Berlin")
    noon = datetime.fromisoformat("2026-01-05T12:00:00Z")
    for minute in range(3):
        Schedule.objects.update(next_fire_at=noon.replace(minute=minute))
        fire_due(noon.replace(minute=minute))

    fires = api.get(f"{at(made)}/fires?page_size=2")

    assert [fire["fire_time"] for fire in fires.json()] == ["2026-01-05T13:02:00+01:00", "2026-01-05T13:01:00+01:00"]
    assert fires["X-Total-Items"] == "3"
    newest = api.get("/api/executions").json()[0]["id"]
    assert (fires.json()[0]["graph_exec_id"], fires.json()[0]["outcome"]) == (newest, "started")
    assert api.get(at(made)).json()["last_run_id"] == newest


def test_a_deleted_schedule_is_gone_and_its_runs_stay(api: APIClient, made: dict[str, Any]):
    fire_due(Schedule.objects.get().next_fire_at)

    answer = api.delete(at(made))

    assert (answer.status_code, answer.json()) == (200, {"id": made["id"]})
    assert (Schedule.objects.count(), GraphExecution.objects.count()) == (0, 1)
    assert api.delete(at(made)).status_code == 404


def test_the_next_times_are_told_of_a_schedule_and_of_an_expression(api: APIClient, made: dict[str, Any]):
    told = api.get(f"{at(made)}/next-runs?count=7").json()

    assert (told["cron"], told["timezone"]) == ("30 9 * * MON-FRI", "UTC")
    assert told["explanation"] == "At 09:30 on Monday through Friday"
    times = [datetime.fromisoformat(time) for time in told["next_run_times"]]
    assert len(times) == 7
    assert times == sorted(set(times))
    assert {(time.hour, time.minute) for time in times} == {(9, 30)}
    assert max(time.isoweekday() for time in times) == 5
    assert told["next_run_times"][0] == made["next_run_time"]
    preview = api.get("/api/schedules/preview", {"cron": made["cron"], "count": "7"})
    assert preview.json() == told
    rare = api.get("/api/schedules/preview", {"cron": "0 0 * 2 MON#5", "count": "100"})
    assert len(rare.json()["next_run_times"]) == 2
    assert api.get(f"{at(made)}/next-runs?count=101").status_code == 422
    assert api.get("/api/schedules/preview?cron=x").status_code == 400
    assert api.get("/api/schedules/preview").status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""),
        ("patch", ""),
        ("delete", ""),
        ("post", "/pause"),
        ("post", "/resume"),
        ("get", "/next-runs"),
        ("get", "/fires"),
    ],
)
def test_somebody_elses_schedule_and_one_that_never_was_are_both_unknown(
    stranger: APIClient, anonymous: APIClient, made: dict[str, Any], method: str, path: str
):
    before = list(Schedule.objects.values())

    foreign = getattr(stranger, method)(at(made) + path, {}, format="json")
    absent = getattr(stranger, method)(f"/api/schedules/{uuid4()}{path}", {}, format="json")
    nobodys = getattr(anonymous, method)(at(made) + path, {}, format="json")

    assert (foreign.status_code, absent.status_code, nobodys.status_code) == (404, 404, 401)
    assert foreign.json()["code"] == absent.json()["code"] == "no_such_schedule"
    assert list(Schedule.objects.values()) == before


def test_a_graph_of_somebody_else_is_not_scheduled_and_shows_no_schedules(
    stranger: APIClient, anonymous: APIClient, address: str, made: dict[str, Any]
):
    assert stranger.post(address, BODY, format="json").json()["code"] == "graph_not_found"
    assert stranger.get(address).json() == stranger.get("/api/schedules").json() == []
    assert {anonymous.get(address).status_code, anonymous.post(address, BODY, format="json").status_code} == {401}
    assert Schedule.objects.count() == 1


def test_operators_see_schedules_and_pause_and_resume_them(client: Client, made: dict[str, Any]):
    client.force_login(make.a_user(role=Role.ADMIN))
    pages = "/admin/executions/schedule/"
    fire_due(Schedule.objects.get().next_fire_at)
    page = client.get(f"{pages}{made['id']}/change/").content.decode()
    assert str(GraphExecution.objects.get().pk) in page
    assert "started" in page

    client.post(pages, {"action": "pause", "_selected_action": [made["id"]]})
    assert Schedule.objects.get().paused_at is not None
    assert "every morning" in client.get(f"{pages}?q=morning").content.decode()
    client.post(pages, {"action": "resume", "_selected_action": [made["id"]]})
    assert Schedule.objects.get().paused_at is None
