"""What the nodes of a run cost, each once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import User
from credits.errors import InsufficientCredits
from credits.kinds import CREDIT, MOST_CREDITS
from credits.models import Hold, Transfer
from executions import again, services
from executions.engine.engine import Engine
from executions.errors import KeyReused
from executions.models import NodeExecution
from executions.reading import run_meta
from tests.drawing import Drawn, draw
from tests.executions.conftest import Charge, Run, ended, eventually
from tests.executions.metering.conftest import balance, chain, charges, top_up
from tests.executions.test_engine import output, outputs
from tests.executions.test_recovery import take_over


def test_each_node_with_a_price_is_charged_once_with_what_it_did(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", 2)
    price("ProbePure", 0.5)
    top_up(owner, 10)
    done = run(chain(owner, "ProbeRead", "ProbePure", "ProbeRead"))

    assert outputs(done) == {"out": [1]}
    assert charges(done) == [("ProbeRead", 2.0), ("ProbePure", 0.5), ("ProbeRead", 2.0)]
    assert (balance(owner), run_meta(done)["stats"]["cost"]) == (5.5, 5)
    hold = Hold.objects.get(run_id=done.pk)
    assert (hold.amount, hold.spent / CREDIT, hold.released_at is not None) == (0, 4.5, True)
    first = Transfer.objects.filter(run_id=done.pk).order_by("id")[0]
    node = NodeExecution.objects.get(pk=first.metadata["node_exec_id"])
    assert first.key == f"use:{done.pk}:{node.node_id}:0:run"
    about = {"graph_exec_id": str(done.pk), "graph_id": str(done.graph_id), "block": "ProbeRead", "input": {}}
    assert first.metadata == {**first.metadata, **about, "price_version": done.price_version}


def test_a_run_without_prices_costs_nothing_and_holds_nothing(owner: User, run: Run) -> None:
    top_up(owner, 1)
    done = run(chain(owner, "ProbeRead", "ProbePure"))

    assert (done.status, charges(), balance(owner)) == ("COMPLETED", [], 1.0)
    assert Hold.objects.count() == 0


def test_while_credits_are_disabled_prices_count_for_nothing(
    owner: User, run: Run, price: Charge, settings: Settings
) -> None:
    settings.CREDITS = "disabled"
    price("ProbeRead", 2)
    done = run(chain(owner, "ProbeRead"))

    assert (done.status, done.price_version, charges()) == ("COMPLETED", None, [])


def test_failures_and_what_is_left_out_cost_nothing(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", 2)
    top_up(owner, 10)
    done = run(draw(owner, {"a": ("ProbeRead", {"fail": "broken"})}))
    dry = services.start_run(done.graph_id, 1, user_id=owner.pk, inputs={}, dry_run=True, ring=False)

    assert (done.node_error_count, charges(), balance(owner)) == (1, [], 10.0)
    assert dry.price_version is None
    services.stop_run(dry.pk)


def test_a_charge_is_never_more_than_can_be_counted(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", MOST_CREDITS, "item")
    top_up(owner, MOST_CREDITS)
    done = run(draw(owner, {"a": ("ProbeRead", {"times": 3})}))

    assert (done.status, charges(done), balance(owner)) == ("COMPLETED", [("ProbeRead", MOST_CREDITS)], 0)


def test_what_is_called_is_paid_by_the_same_purse(owner: User, run: Run, price: Charge, calling: Drawn) -> None:
    price("ProbeRead", 1)
    price("ProbeKeyed", 2)
    top_up(owner, 50)
    done = run(calling)

    assert sorted(outputs(done)["out"]) == [1, 2, 3, 4]
    assert (len(charges()), balance(owner)) == (12, 34.0)
    root = Hold.objects.get(run_id=done.pk)
    assert (root.spent / CREDIT, root.taken / CREDIT, root.pool) == (8.0, 16.0, 0)


def test_a_fee_is_due_for_each_hundred_activations(owner: User, run: Run) -> None:
    top_up(owner, 5)
    numbers = ("StepThroughItems", {"items": list(range(125))})
    done = run(draw(owner, {"items": numbers, "echo": ("StoreValue", {})}, ["items.item -> echo.input"]))

    assert done.node_count == 126
    assert (charges(done), balance(owner)) == ([("fee", 1.0)], 4.0)


def test_a_worker_that_is_lost_does_not_charge_twice(
    owner: User, another_engine: Callable[..., Engine], price: Charge, hold: Path
) -> None:
    price("ProbeRead", 2)
    price("ProbeKeyed", 3)
    top_up(owner, 50)
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1}), "b": ("ProbeKeyed", {"hold": str(hold)}), "out": output()},
        ["a.value -> b.value", "b.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    another_engine().ring([run.pk])
    eventually(lambda: len(charges(run)) == 1)
    take_over(run, another_engine())
    hold.unlink()

    assert ended(run.pk).status == "COMPLETED"
    assert (charges(run), balance(owner)) == ([("ProbeRead", 2.0), ("ProbeKeyed", 3.0)], 45.0)


def test_a_retry_pays_only_for_what_runs_again(owner: User, run: Run, engine: Engine, price: Charge) -> None:
    price("ProbeRead", 2)
    price("ProbeKeyed", 3)
    top_up(owner, 50)
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1}), "b": ("ProbeKeyed", {"fail": "broken"})},
        ["a.value -> b.value"],
    )
    first = run(graph)
    second = again.retry_run(first.pk, ring=False)
    engine.ring([second.pk])
    ended(second.pk)
    third = again.replay_run(first.pk, graph.nodes["b"], {"fail": ""}, ring=False)
    engine.ring([third.pk])
    ended(third.pk)

    assert [charges(each) for each in (first, second, third)] == [[("ProbeRead", 2.0)], [], [("ProbeKeyed", 3.0)]]


def test_a_retry_that_is_asked_for_again_is_the_same_though_no_credits_are_left(
    owner: User, run: Run, price: Charge
) -> None:
    price("ProbeRead", 2)
    top_up(owner, 2)
    first = run(
        draw(owner, {"a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {"fail": "x"})}, ["a.value -> b.value"])
    )
    top_up(owner, 1, "topup:2")
    second = again.retry_run(first.pk, trigger_key="once", request_hash="1", ring=False)

    # It has set all of them aside.
    assert balance(owner) == 0
    assert again.retry_run(first.pk, trigger_key="once", request_hash="1", ring=False).pk == second.pk
    with pytest.raises(KeyReused):
        again.retry_run(first.pk, trigger_key="once", request_hash="2", ring=False)
    with pytest.raises(InsufficientCredits):
        again.retry_run(first.pk, trigger_key="another", request_hash="1", ring=False)
    services.stop_run(second.pk)
