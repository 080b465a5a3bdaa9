"""What runs set aside before they use it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from django.db import connection
from pytest_django import Settings

from accounts.models import User
from credits import holds, ledger
from credits.errors import InsufficientCredits
from credits.kinds import CREDIT, Kind
from credits.models import Hold, Transfer
from executions import bookkeeping, failpoints, services
from executions.audit import audit, audit_on_record
from executions.engine.engine import Engine
from executions.models import GraphExecution, Review
from executions.new_runs import RunRequest
from executions.reviews import Verdict, decide
from graphs.services import delete_graph
from tests import make
from tests.drawing import draw
from tests.executions.conftest import Charge, ended, eventually
from tests.executions.metering.conftest import balance, chain, charges, top_up
from tests.executions.test_engine import calling
from tests.executions.test_recovery import lapse


def test_a_run_sets_aside_what_it_will_cost_and_gives_back_the_rest(owner: User, price: Charge) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead", "ProbeRead")
    runs = services.start_runs(graph.id, 1, user_id=owner.pk, runs=[RunRequest(inputs={})] * 2, ring=False)

    assert [Hold.objects.get(run_id=run.pk).amount / CREDIT for run in runs] == [6.0, 4.0]
    assert balance(owner) == 0
    for run in runs:
        services.stop_run(run.pk)
        services.stop_run(run.pk)
    assert balance(owner) == 10
    assert not Hold.objects.filter(released_at=None).exists()


def test_runs_that_start_at_once_set_aside_no_more_than_there_is(owner: User, price: Charge) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead")

    def start(_: int) -> None:
        with closing(connection), suppress(InsufficientCredits):
            services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(start, range(24)))

    amounts = Hold.objects.filter(amount__gt=0).order_by("amount").values_list("amount", flat=True)
    assert [amount / CREDIT for amount in amounts] == [1.0, 3.0, 3.0, 3.0]
    assert balance(owner) == 0


def test_a_hold_that_nobody_uses_for_two_days_is_emptied_and_filled_again(
    owner: User, engine: Engine, price: Charge
) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead", "ProbeRead")
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    assert (holds.expire(), balance(owner)) == (0, 4.0)
    Hold.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert (holds.expire(), balance(owner)) == (1, 10.0)
    engine.ring([run.pk])
    assert (ended(run.pk).status, balance(owner)) == ("COMPLETED", 4.0)


def test_what_waited_until_its_hold_was_emptied_waits_for_credits_rather_than_make_debts(
    owner: User, engine: Engine, price: Charge
) -> None:
    price("HumanInTheLoop", 3)
    top_up(owner, 3)
    graph = draw(owner, {"ask": ("HumanInTheLoop", {"data": 1, "name": "Payment"})})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="REVIEW").exists())
    Hold.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert holds.expire() == 1
    ledger.spend(owner.pk, 3 * CREDIT, key="all there was")
    decide(owner.pk, [Verdict(Review.objects.get().node_execution_id, approved=True)])
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, needs_credits=3 * CREDIT).exists())
    assert (charges(run), balance(owner)) == ([], 0)

    top_up(owner, 4, key="topup:2")
    engine.ring([run.pk])
    assert (ended(run.pk).status, charges(run), balance(owner)) == ("COMPLETED", [("HumanInTheLoopBlock", 3.0)], 1)


@pytest.mark.parametrize(
    ("emptied", "taken"), [("the called ones", 3), ("all", 0), ("the called ones of a released one", 0)]
)
def test_what_called_runs_no_longer_hold_is_free_in_the_budget_of_their_family(
    owner: User, engine: Engine, price: Charge, settings: Settings, emptied: str, taken: int
) -> None:
    settings.SWEEP_SECONDS = 0.2
    price("CountdownTimer", 3)
    top_up(owner, 50)
    timer = ("CountdownTimer", {"seconds": 2})
    child = draw(owner, {"in": ("AgentInput", {"name": "n"}), "timer": timer}, ["in.result -> timer.input_message"])
    call = {"graph_id": str(child.id), "graph_version": 1, "input_schema": {"properties": {"n": {}}}}
    items = ("StepThroughItems", {"items": [1, 2]})
    graph = draw(
        owner,
        {"items": items, "call": ("AgentExecutor", {**call, "output_schema": {}}), "timer": timer},
        ["items.item -> call.n"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=10, ring=False)
    engine.ring([run.pk])
    family = Hold.objects.filter(root_id=run.pk)
    eventually(lambda: list(family.values_list("amount", flat=True)) == [3 * CREDIT] * 3)
    assert family.get(run_id=run.pk).taken == 9 * CREDIT
    if "released" in emptied:
        holds.release(run.pk)
    (family if emptied == "all" else family.exclude(run_id=run.pk)).update(expires_at="2020-01-01T00:00:00Z")

    assert (holds.expire(), family.get(run_id=run.pk).taken) == (1, taken * CREDIT)
    assert (holds.expire(), family.get(run_id=run.pk).taken) == (0, taken * CREDIT)
    if "released" in emptied:
        services.stop_run(run.pk)
        ended(run.pk)
    else:
        assert (ended(run.pk).status, len(charges()), balance(owner)) == ("COMPLETED", 3, 41.0)


def test_holds_of_deleted_runs_go_back_and_monthly_users_are_refilled(
    owner: User, engine: Engine, price: Charge, settings: Settings
) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead")
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    delete_graph(owner, graph.id)
    bookkeeping.tidy_up()
    assert (balance(owner), audit_on_record().problems) == (7, [])
    Hold.objects.update(placed_at="2020-01-01T00:00:00Z")
    assert audit().problems == [f"Run {run.pk} has ended, its hold is open"]
    assert audit_on_record().problems == []
    bookkeeping.tidy_up()
    assert (balance(owner), Hold.objects.get().run_id) == (10, run.pk)
    settings.CREDITS, settings.MONTHLY_CREDITS = "monthly", 20
    make.a_run(owner, chain(owner, "ProbeRead").id, status="WAITING", needs_credits=15 * CREDIT, price_version=0)
    bookkeeping.tidy_up()
    assert balance(owner) == 20


def test_a_run_that_was_stopped_waits_for_credits_no_more(owner: User, price: Charge, settings: Settings) -> None:
    settings.CREDITS, settings.MONTHLY_CREDITS = "monthly", 20
    graph = chain(owner, "ProbeRead")
    run = make.a_run(owner, graph.id, status="WAITING", needs_credits=15 * CREDIT, price_version=0)
    services.stop_run(run.pk)
    bookkeeping.tidy_up()
    assert GraphExecution.objects.get(pk=run.pk).needs_credits is None
    assert not Transfer.objects.exists()


def test_a_run_that_must_pay_again_finds_the_run_that_it_had_called(
    owner: User, another_engine: Callable[..., Engine], price: Charge, monkeypatch: pytest.MonkeyPatch
) -> None:
    price("AgentExecutor", 1)
    top_up(owner, 1)
    called = draw(owner, {"timer": ("CountdownTimer", {"seconds": 0.1})})
    graph = draw(owner, {"call": calling(called)})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=5, ring=False)
    failing = another_engine()
    monkeypatch.setitem(failpoints._armed, "child.after_start", failpoints._Armed("raise", 0))
    failing.ring([run.pk])
    eventually(lambda: not failpoints._armed)
    failing.stop(grace=0)
    lapse(run)
    Hold.objects.update(expires_at="2020-01-01T00:00:00Z")
    holds.expire()
    ledger.spend(owner.pk, CREDIT, key="all there was", kind=Kind.USAGE)

    engine = another_engine()
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, needs_credits=CREDIT).exists())
    top_up(owner, 1, key="topup:2")
    engine.ring([run.pk])
    assert (ended(run.pk).status, charges(run)) == ("COMPLETED", [("AgentExecutorBlock", 1.0)])
    assert GraphExecution.objects.filter(parent=run.pk).count() == 1
