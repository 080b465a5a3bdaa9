"""Prices for what is known only once a block has run."""

from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution, NodeExecution
from tests.drawing import draw
from tests.executions.conftest import Charge, Run, ended, eventually
from tests.executions.metering.conftest import balance, charges, top_up
from tests.executions.test_engine import output, outputs


@pytest.mark.parametrize(
    ("per", "amount", "constants", "cost"),
    [("item", 0.25, {"times": 3}, 0.75), ("byte", 0.01, {"value": "abc", "times": 2}, 0.1), ("token", 0.002, {}, 0.0)],
)
def test_what_is_measured_is_charged_after_it_was_used(
    owner: User, run: Run, price: Charge, per: str, amount: float, constants: dict[str, Any], cost: float
) -> None:
    price("ProbeRead", amount, per)
    top_up(owner, 5)
    run(draw(owner, {"a": ("ProbeRead", constants)}))

    assert balance(owner) == pytest.approx(5 - cost)
    assert sum(paid for _, paid in charges()) == pytest.approx(cost)


@pytest.mark.parametrize("block", ["ProbeTokens", "ProbeTokensApart"])
def test_a_block_says_what_it_has_used(owner: User, run: Run, price: Charge, block: str, host: object) -> None:
    price(block, 0.001, "token")
    top_up(owner, 5)
    done = run(draw(owner, {"a": (block, {"tokens": [100, 20]}), "out": output()}, ["a.value -> out.value"]))

    assert outputs(done) == {"out": [120]}
    assert (charges(), balance(owner)) == ([(block, 0.12)], 4.88)


@pytest.mark.parametrize("block", ["ProbeTokens", "ProbeTokensApart"])
@pytest.mark.parametrize(("per", "amount", "cost"), [("token", 0.001, 0.24), ("byte", 0.01, 0.11)])
def test_what_was_used_before_a_run_parked_is_charged_with_the_rest(
    owner: User, run: Run, price: Charge, block: str, per: str, amount: float, cost: float, host: object
) -> None:
    price(block, amount, per)
    top_up(owner, 5)
    done = run(
        draw(owner, {"a": (block, {"tokens": [100, 20], "pause": 1.2}), "out": output()}, ["a.value -> out.value"])
    )

    assert outputs(done) == {"out": ["so far", 120]}
    assert GraphExecution.objects.get(pk=done.pk).fence > 1
    assert charges() == [(block, cost)]


def test_bytes_of_a_stream_are_charged_once_whoever_takes_them_up(
    owner: User, engine: Engine, price: Charge, host: object, hold: Path
) -> None:
    price("ProbeCountApart", 0.01, "byte")
    top_up(owner, 5)
    graph = draw(owner, {"a": ("ProbeCountApart", {"times": 5, "pauses_after": 3, "hold": str(hold)})})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING", output_count=3).exists())
    hold.unlink()
    done = ended(run.pk)

    assert done.fence > 1
    assert charges() == [("ProbeCountApart", 0.05)]


@pytest.mark.parametrize("block", ["ProbeRead", "ProbeThread"])
def test_seconds_are_those_that_the_block_took(owner: User, run: Run, price: Charge, block: str) -> None:
    price(block, 1, "second")
    top_up(owner, 5)
    done = run(draw(owner, {"a": (block, {"seconds": 0.2})}))

    [(_, cost)] = charges()
    node = NodeExecution.objects.get(run=done.pk)
    assert node.ended_at is not None
    assert 0.2 <= cost <= (node.ended_at - node.started_at).total_seconds()
