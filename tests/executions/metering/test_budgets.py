"""How much a run may use at most."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import F
from pytest_django import Settings

from accounts.models import User
from credits import ledger
from credits.kinds import CREDIT
from credits.models import Hold
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution, NodeExecution, Schedule
from executions.schedules import fire_due
from tests.drawing import Drawn, draw
from tests.executions.conftest import Charge, ended, eventually
from tests.executions.metering.conftest import balance, chain, charges, top_up
from tests.executions.test_engine import output


def test_a_run_that_reaches_its_budget_ends_and_keeps_what_it_did(owner: User, engine: Engine, price: Charge) -> None:
    price("ProbeRead", 2)
    top_up(owner, 100)
    graph = chain(owner, "ProbeRead", "ProbeRead", "ProbeRead")
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=5, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)

    assert (done.status, done.error_code) == ("FAILED", "budget_exceeded")
    assert (charges(done), balance(owner)) == ([("ProbeRead", 2.0)] * 2, 96.0)
    statuses = NodeExecution.objects.filter(run=run.pk).order_by("started_at").values_list("status", flat=True)
    assert list(statuses) == ["COMPLETED", "COMPLETED", "TERMINATED"]


def test_a_budget_holds_for_measured_prices_too(owner: User, engine: Engine, price: Charge) -> None:
    price("ProbeRead", 1, "item")
    top_up(owner, 100)
    graph = draw(owner, {"a": ("ProbeRead", {"times": 50})})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=5, ring=False)
    engine.ring([run.pk])
    ended(run.pk)

    assert sum(cost for _, cost in charges(run)) <= 5
    assert balance(owner) >= 95


def test_a_budget_is_that_of_all_that_is_called(owner: User, engine: Engine, price: Charge, calling: Drawn) -> None:
    price("ProbeRead", 1)
    price("ProbeKeyed", 2)
    top_up(owner, 50)
    run = services.start_run(calling.id, 1, user_id=owner.pk, inputs={}, max_credits=9, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)
    eventually(lambda: not Hold.objects.filter(released_at=None).exists())

    spent = sum(cost for _, cost in charges())
    assert 7 <= spent <= 9
    assert balance(owner) == 50 - spent
    codes = set(GraphExecution.objects.values_list("error_code", flat=True))
    assert "budget_exceeded" in codes
    assert done.status in ("FAILED", "COMPLETED")


def test_a_run_that_gives_more_outputs_than_it_may_ends(owner: User, engine: Engine, settings: Settings) -> None:
    settings.CREDITS = "disabled"
    graph = draw(owner, {"a": ("ProbeRead", {"times": 50}), "out": output()}, ["a.value -> out.value"])
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, output_budget=12, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)

    assert (done.status, done.error_code, done.output_count) == ("FAILED", "output_budget_exceeded", 12)
    settings.OUTPUTS_PER_RUN = 7
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    assert ended(run.pk).output_count == 7


def test_each_run_of_a_schedule_has_its_budget(owner: User, price: Charge, client_of: Callable[..., Any]) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead", "ProbeRead")
    asked = {"name": "often", "cron": "* * * * *", "inputs": {}, "max_credits": 4}
    made = client_of(owner).post(f"/api/graphs/{graph.id}/schedules", asked, format="json").json()
    assert made["max_credits"] == 4
    Schedule.objects.update(next_fire_at=F("next_fire_at") - timedelta(minutes=1))
    fire_due()

    run = GraphExecution.objects.get()
    assert (run.max_credits, Hold.objects.get().cap, Hold.objects.get().amount) == (4, 4 * CREDIT, 4 * CREDIT)
    services.stop_run(run.pk)
    ledger.spend(owner.pk, 10 * CREDIT, key="use:all")
    other = client_of(owner).post(f"/api/graphs/{graph.id}/schedules", asked, format="json").json()
    Schedule.objects.filter(pk=other["id"]).update(next_fire_at=F("next_fire_at") - timedelta(minutes=1))
    fire_due()
    paused = client_of(owner).get(f"/api/schedules/{other['id']}").json()
    assert (paused["is_paused"], paused["pause_reason"]) == (True, "You have no credits to run graphs with")
