"""Telling people that a run waits for credits."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from pytest_django import Settings

from accounts.models import User
from credits import ledger, price_lists
from credits.kinds import CREDIT, Kind
from credits.models import PriceEntry
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution
from executions.new_runs import RunRequest
from executions.schedules import fire_due, resume_schedule
from notifications.models import Notification
from tests.accounts.mailbox import delivered
from tests.drawing import block_id, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_schedules import MINUTE, NOON, a_schedule, fires_of, state_of


def test_a_run_that_waits_for_credits_tells_once_for_its_graph_until_the_next_top_up(
    owner: User, engine: Engine, settings: Settings, client_of: Callable[[User], Any]
) -> None:
    settings.CREDITS = "paid"
    PriceEntry.objects.create(block=block_id("ProbeRead"), amount=600 * CREDIT)
    price_lists.publish("a test", "dear")
    ledger.credit(owner.pk, 100 * CREDIT, kind=Kind.TOP_UP, key="topup:1")
    graphs = [draw(owner, {"a": ("ProbeRead", {"value": number})}) for number in range(2)]

    def start(graph_id: UUID, count: int) -> list[UUID]:
        requests = [RunRequest(inputs={})] * count
        runs = [run.pk for run in services.start_runs(graph_id, 1, user_id=owner.pk, runs=requests, ring=False)]
        engine.ring(runs)
        eventually(lambda: not GraphExecution.objects.filter(pk__in=runs, needs_credits=None).exists())
        return runs

    def told() -> list[str]:
        notices = Notification.objects.filter(kind="ZERO_BALANCE").order_by("created_at")
        for each in notices:
            assert each.data["needed"] == GraphExecution.objects.get(pk=each.data["run_id"]).needs_credits
        return [each.data["graph_id"] for each in notices]

    one, two = (str(graph.id) for graph in graphs)
    first = start(graphs[0].id, 3)
    assert told() == [one]
    assert Notification.objects.get(kind="ZERO_BALANCE").data["run_id"] in map(str, first)
    listed = client_of(owner).get("/api/notifications").json()["notifications"]
    assert [each["title"] for each in listed if each["type"] == "ZERO_BALANCE"] == ["A run waits for credits"]

    ledger.credit(owner.pk, 10 * CREDIT, kind=Kind.TOP_UP, key="topup:2")
    start(graphs[1].id, 1)
    ledger.credit(owner.pk, 10 * CREDIT, kind=Kind.TOP_UP, key="topup:3")
    start(graphs[0].id, 2)
    assert told() == [one, two, one]

    ledger.credit(owner.pk, 5000 * CREDIT, kind=Kind.TOP_UP, key="topup:4")
    for run_id in GraphExecution.objects.values_list("pk", flat=True):
        assert ended(run_id).status == "COMPLETED"
    assert Notification.objects.filter(kind="ZERO_BALANCE").count() == 3


def test_a_schedule_that_pauses_for_want_of_credits_tells_its_owner(owner: User, settings: Settings) -> None:
    schedule = a_schedule(owner)
    settings.CREDITS = "paid"
    fire_due(NOON)
    assert fires_of(schedule) == [(NOON, "refused")]
    assert state_of(schedule)[2] == "You have no credits to run graphs with"
    notice = Notification.objects.get()
    assert (notice.kind, notice.data) == (
        "ZERO_BALANCE",
        {"graph_id": str(schedule.graph_id), "schedule_id": str(schedule.pk)},
    )
    [message] = delivered()
    assert (message.to, message.subject) == ([owner.email], "A schedule paused for want of credits")
    resume_schedule(owner, schedule.pk)
    type(schedule).objects.update(next_fire_at=NOON + MINUTE)
    fire_due(NOON + MINUTE)
    assert len(fires_of(schedule)) == 2
    assert Notification.objects.count() == 1
