"""Runs that cannot pay for what they want to do."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from accounts.models import User
from credits import ledger
from credits.errors import InsufficientCredits
from credits.kinds import CREDIT, MOST_CREDITS, Kind
from credits.models import Account, Hold
from executions import services
from executions.audit import audit
from executions.engine.beside import MAX_TASKS
from executions.engine.engine import Engine
from executions.errors import KeyReused
from executions.explain import why
from executions.kinds import Status
from executions.models import GraphExecution, NodeExecution
from executions.new_runs import RunRequest
from tests.drawing import block_id, draw
from tests.executions.conftest import Charge, Run, ended, eventually
from tests.executions.metering.conftest import balance, chain, charges, top_up
from tests.executions.test_engine import output, outputs
from tests.executions.test_recovery import take_over


def test_nobody_starts_a_run_without_credits(owner: User, price: Charge, client_of: Callable[..., Any]) -> None:
    graph = chain(owner, "ProbeRead")
    refused = client_of(owner).post(f"/api/graphs/{graph.id}/execute/1", {}, format="json")

    assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_credits")
    assert GraphExecution.objects.count() == 0
    top_up(owner, 1)
    key = {"Idempotency-Key": "once"}
    started = client_of(owner).post(f"/api/graphs/{graph.id}/execute/1", {}, format="json", headers=key)
    ledger.spend(owner.pk, CREDIT, key="use:all")
    again_ = client_of(owner).post(f"/api/graphs/{graph.id}/execute/1", {}, format="json", headers=key)
    assert (started.status_code, again_.status_code, again_.json()["id"]) == (200, 200, started.json()["id"])
    with pytest.raises(InsufficientCredits):
        services.start_runs(graph.id, 1, user_id=owner.pk, runs=[RunRequest(inputs={})] * 2)
    services.stop_run(UUID(started.json()["id"]))


def test_monthly_credits_are_there_for_the_start_after_one_that_came_to_nothing(
    owner: User, settings: Settings
) -> None:
    graph = chain(owner, "ProbeRead")
    first = services.start_run(
        graph.id, 1, user_id=owner.pk, inputs={}, dry_run=True, trigger_key="a", request_hash="1"
    )
    settings.CREDITS, settings.MONTHLY_CREDITS = "monthly", 20
    both = [RunRequest(inputs={}, trigger_key="a", request_hash="2"), RunRequest(inputs={})]
    with pytest.raises(KeyReused):
        services.start_runs(graph.id, 1, user_id=owner.pk, runs=both)
    assert balance(owner) == 0

    second = services.start_run(graph.id, 1, user_id=owner.pk, inputs={})
    assert balance(owner) == 20
    for run in (first, second):
        services.stop_run(run.pk)


def test_a_run_that_cannot_pay_waits_and_a_top_up_wakes_it(
    owner: User, engine: Engine, price: Charge, settings: Settings
) -> None:
    settings.SWEEP_SECONDS = 0.2
    price("ProbeRead", 2)
    price("ProbePure", 3)
    top_up(owner, 6)
    run = services.start_run(chain(owner, "ProbeRead", "ProbePure", "ProbeRead").id, 1, user_id=owner.pk, inputs={})
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.WAITING).exists())

    assert charges(run) == [("ProbeRead", 2.0), ("ProbePure", 3.0)]
    [sentence] = why(run.pk).sentences
    assert "waits for credits: it costs 2, and less is left" in sentence
    time.sleep(0.5)
    assert GraphExecution.objects.get(pk=run.pk).status == Status.WAITING
    top_up(owner, 0.5, "topup:2")
    time.sleep(0.5)
    assert GraphExecution.objects.get(pk=run.pk).status == Status.WAITING
    # With what it has set aside already it is enough now.
    top_up(owner, 0.5, "topup:3")
    done = ended(run.pk)
    assert (done.status, outputs(done), balance(owner)) == ("COMPLETED", {"out": [1]}, 0)
    assert len(charges(run)) == 3


def test_what_cannot_be_paid_waits_beside_what_can(
    owner: User, engine: Engine, price: Charge, hold: Path, settings: Settings
) -> None:
    settings.SWEEP_SECONDS = 0.2
    price("ProbeKeyed", 4)
    top_up(owner, 10)
    items = ("StepThroughItems", {"items": [1, 2, 3, 4]})
    graph = draw(
        owner,
        {"items": items, "each": ("ProbeKeyed", {}), "free": ("ProbeRead", {"hold": str(hold)}), "out": output()},
        ["items.item -> each.value", "each.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={})
    engine.ring([run.pk])
    eventually(lambda: len(charges(run)) == 2)
    hold.unlink()
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.WAITING).exists())
    take_over_nothing = balance(owner)
    top_up(owner, 20, "topup:2")
    done = ended(run.pk)

    assert take_over_nothing < 4
    assert (sorted(outputs(done)["out"]), len(charges(run)), balance(owner)) == ([1, 2, 3, 4], 4, 14.0)


def test_what_was_used_beyond_the_balance_is_owed(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", 1, "item")
    top_up(owner, 3)
    run(draw(owner, {"a": ("ProbeRead", {"times": 10})}))

    assert balance(owner) == -7
    assert Account.objects.get(user=owner.pk).floor == -7 * CREDIT
    with pytest.raises(InsufficientCredits):
        services.start_run(chain(owner, "ProbeRead").id, 1, user_id=owner.pk, inputs={})


@pytest.mark.parametrize(
    ("max_credits", "how", "cost"), [(None, ("FAILED", "debt_exceeded"), 0), (MOST_CREDITS, ("COMPLETED", ""), 5)]
)
def test_nobody_owes_more_than_can_be_counted(
    owner: User, engine: Engine, price: Charge, max_credits: int | None, how: tuple[str, str], cost: float
) -> None:
    price("ProbeTokens", 1, "token")
    top_up(owner, 5)
    graph = draw(owner, {"a": ("ProbeTokens", {"tokens": [10**18], "pause": 1.5})})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=max_credits, ring=False)
    engine.ring([run.pk])
    eventually(lambda: NodeExecution.objects.filter(run=run.pk, output_count=1).exists())
    other = services.start_run(
        draw(owner, {"a": ("ProbeTokens", {"tokens": [10**18]})}).id, 1, user_id=owner.pk, inputs={}, ring=False
    )
    engine.ring([other.pk])
    assert (ended(other.pk).status, charges(other)) == ("COMPLETED", [("ProbeTokens", MOST_CREDITS)])
    done = ended(run.pk)

    assert (done.status, done.error_code) == how
    assert sum(paid for _, paid in charges(run)) == cost
    assert balance(owner) == 5 - cost - MOST_CREDITS
    assert Hold.objects.filter(released_at=None).count() == 0


def test_what_cannot_be_owed_is_not_missed_whatever_else_ended_the_run(
    owner: User, engine: Engine, price: Charge
) -> None:
    price("ProbePure", 1, "byte")
    top_up(owner, 5)
    graph = draw(owner, {"a": ("ProbePure", {"value": "x" * 10}), "b": ("StoreValue", {})}, ["a.value -> b.input"])
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, output_budget=1, ring=False)
    ledger.take_back(owner.pk, MOST_CREDITS * CREDIT, key="a debt", kind=Kind.USAGE)
    engine.ring([run.pk])
    done = ended(run.pk)

    assert (done.status, done.error_code, charges(run)) == ("FAILED", "output_budget_exceeded", [])
    assert NodeExecution.objects.filter(run=run.pk, status="COMPLETED", block_id=block_id("ProbePure")).count() == 1
    assert audit().problems == []


@pytest.mark.parametrize("block", ["ProbeKeyed", "ProbeUnsafe"])
@pytest.mark.parametrize("is_stopped", [False, True], ids=["lost", "stopped"])
def test_what_is_paid_for_and_has_no_room_yet_outlives_its_worker(
    owner: User, another_engine: Callable[..., Engine], price: Charge, hold: Path, is_stopped: bool, block: str
) -> None:
    more = 12
    price(block, 1)
    top_up(owner, 500)
    graph = draw(
        owner,
        {
            "step": ("StepThroughItems", {"items": list(range(MAX_TASKS + more))}),
            "wait": (block, {"hold": str(hold)}),
            "out": output(),
        },
        ["step.item -> wait.value", "wait.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    first = another_engine()
    first.ring([run.pk])
    began = NodeExecution.objects.filter(run=run.pk, block_id=block_id(block), status="RUNNING")
    eventually(lambda: began.count() == MAX_TASKS)
    assert NodeExecution.objects.filter(run=run.pk, block_id=block_id(block), status="WAITING").count() == more
    heir = another_engine()
    if is_stopped:
        first.stop(grace=0)
        heir.ring([run.pk])
    else:
        take_over(run, heir)
    hold.unlink()
    done = ended(run.pk, 20)

    repeated = MAX_TASKS + more if block == "ProbeKeyed" else more
    assert (len(outputs(done)["out"]), Counter(charges(run))[block, 1.0]) == (repeated, repeated)
    assert done.node_error_count == MAX_TASKS + more - repeated


def test_a_block_that_runs_apart_runs_once_whatever_becomes_of_the_credits(
    owner: User, engine: Engine, host: object, hold: Path, tmp_path: Path
) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    log.touch()
    gate.touch()
    top_up(owner, 0.5)
    graph = draw(
        owner,
        {
            "apart": ("ProbeCountApartUnsafe", {"times": 2, "pauses_after": 1, "hold": str(hold), "log": str(log)}),
            "later": ("ProbeRead", {"value": list(range(120)), "hold": str(gate)}),
            "each": ("StepThroughItems", {}),
            "keep": ("StoreValue", {}),
        },
        ["later.value -> each.items", "each.item -> keep.input"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    nodes = NodeExecution.objects.filter(run=run.pk)
    eventually(log.read_text)
    gate.unlink()
    eventually(lambda: nodes.filter(block_id=block_id("StoreValue"), status="WAITING").exists())
    hold.unlink()
    apart = nodes.filter(node_id=graph.nodes["apart"])
    eventually(lambda: apart.filter(status="COMPLETED").exists())
    top_up(owner, 5, "topup:2")

    assert ended(run.pk, 20).status == "COMPLETED"
    assert (len(log.read_text().splitlines()), apart.get().output_count) == (1, 2)


def test_a_run_that_ends_early_leaves_nothing_waiting_for_credits(
    owner: User, engine: Engine, price: Charge, hold: Path
) -> None:
    price("ProbeKeyed", 4)
    top_up(owner, 1)
    graph = draw(
        owner,
        {"items": ("StepThroughItems", {"items": [1, 2, 3]}), "each": ("ProbeKeyed", {})},
        ["items.item -> each.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, node_budget=3, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)

    assert (done.status, done.error_code, balance(owner)) == ("FAILED", "node_budget_exceeded", 1.0)
    nodes = NodeExecution.objects.filter(run=run.pk, node_id=graph.nodes["each"])
    assert [(node.status, node.waits) for node in nodes] == [("TERMINATED", [])] * 2
