"""What runs cost, and what happens when there is not enough to pay for it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.db.models import F
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Role, User
from credits import holds, ledger, price_lists
from credits.errors import InsufficientCredits
from credits.kinds import CREDIT, MOST_CREDITS, Kind
from credits.models import Account, Hold, PriceEntry, PriceList, Transfer
from executions import again, bookkeeping, services
from executions.audit import audit
from executions.engine.beside import MAX_TASKS
from executions.engine.engine import Engine
from executions.explain import why
from executions.kinds import Status
from executions.models import GraphExecution, NodeExecution, Schedule
from executions.reading import run_meta
from executions.schedules import fire_due
from graphs.blocks.base import Price
from graphs.blocks.registry import BLOCKS
from graphs.services import delete_graph
from tests import make
from tests.drawing import Drawn, block_id, draw
from tests.executions.conftest import Charge, Run, ended, eventually
from tests.executions.test_engine import output, outputs
from tests.executions.test_recovery import take_over


@pytest.fixture(autouse=True)
def paid(settings: Settings) -> None:
    """People pay for what they use."""
    settings.CREDITS = "paid"


@pytest.fixture(autouse=True)
def _balanced(transactional_db: None) -> Iterator[None]:
    """Whatever happened, the books are right in the end."""
    yield
    assert audit().problems == []


def top_up(user: User, amount: float, key: str = "topup:1") -> None:
    ledger.credit(user.pk, int(amount * CREDIT), kind=Kind.GRANT, key=key)


def balance(user: User) -> float:
    return ledger.settled_balance(user.pk) / CREDIT


def charges(run: GraphExecution | None = None) -> list[tuple[str, float]]:
    """The name of the block, and what it cost, in the order of the books."""
    used = Transfer.objects.filter(kind=Kind.USAGE).order_by("id")
    if run is not None:
        used = used.filter(run_id=run.pk)
    return [(transfer.metadata.get("block", "fee"), transfer.amount / CREDIT) for transfer in used]


def chain(owner: User, *blocks: str, **constants: Any) -> Drawn:
    """These blocks one after the other, fed with 1."""
    nodes = {f"n{place}": (block, {**constants, "value": 1}) for place, block in enumerate(blocks)}
    links = [f"n{place}.value -> n{place + 1}.value" for place in range(len(blocks) - 1)]
    return draw(owner, {**nodes, "out": output()}, [*links, f"n{len(blocks) - 1}.value -> out.value"])


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


def test_the_first_price_whose_filter_fits_counts(owner: User, run: Run, price: Charge) -> None:
    platform = {"credentials": {"id": "platform"}}
    price("ProbeRead", 7, match={"fail": "no", "log": None})
    price("ProbeRead", 3, match={"value": {"model": "large"}, "hold": ""})
    price("ProbeRead", 1, match={"value": {"model": "small"}, **platform})
    top_up(owner, 100)
    graph = draw(owner, {"a": ("ProbeRead", {"value": {"model": "large", "more": 1}})})
    run(graph)
    run(draw(owner, {"a": ("ProbeRead", {"value": {"model": "small"}})}))

    assert charges() == [("ProbeRead", 3.0)]


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


def test_a_price_of_a_provider_is_for_its_blocks_without_their_own(
    owner: User, run: Run, price: Charge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in ("ProbeRead", "ProbeKeyed"):
        monkeypatch.setattr(type(BLOCKS.get(block_id(block))), "provider", "probe", raising=False)
    price("provider:probe", 1)
    price("ProbeKeyed", 4)
    top_up(owner, 10)
    run(chain(owner, "ProbeRead", "ProbeKeyed"))

    assert charges() == [("ProbeRead", 1.0), ("ProbeKeyed", 4.0)]


def test_failures_and_what_is_left_out_cost_nothing(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", 2)
    top_up(owner, 10)
    done = run(draw(owner, {"a": ("ProbeRead", {"fail": "broken"})}))
    dry = services.start_run(done.graph_id, 1, user_id=owner.pk, inputs={}, dry_run=True, ring=False)

    assert (done.node_error_count, charges(), balance(owner)) == (1, [], 10.0)
    assert dry.price_version is None
    services.stop_run(dry.pk)


def test_a_run_keeps_the_prices_it_began_with(
    owner: User, engine: Engine, price: Charge, hold: Path, tmp_path: Path
) -> None:
    price("ProbeRead", 1)
    price("ProbeKeyed", 2)
    top_up(owner, 50)
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"hold": str(hold), "value": 1}), "b": ("ProbeKeyed", {})},
        ["a.value -> b.value"],
    )
    first = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([first.pk])
    PriceEntry.objects.filter(block=block_id("ProbeKeyed")).update(amount=9 * CREDIT)
    price_lists.publish("a test", "dearer")
    second = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([second.pk])
    hold.unlink()
    ended(first.pk), ended(second.pk)

    assert charges(first) == [("ProbeRead", 1.0), ("ProbeKeyed", 2.0)]
    assert charges(second) == [("ProbeRead", 1.0), ("ProbeKeyed", 9.0)]


@pytest.fixture
def release(transactional_db: None) -> Iterator[Callable[..., None]]:
    """Makes a release whose blocks declare prices, and migrates to it; the database is emptied without them."""
    with pytest.MonkeyPatch.context() as patch:

        def migrate(**declared: str) -> None:
            for name, amount in declared.items():
                patch.setattr(type(BLOCKS.get(block_id(name))), "prices", (Price(Decimal(amount), match={"fail": ""}),))
            call_command("migrate", verbosity=0)

        yield migrate


def test_prices_that_a_release_declares_count_for_runs_that_start_after_it(
    owner: User, engine: Engine, release: Callable[..., None]
) -> None:
    top_up(owner, 50)
    release(ProbeRead="1.5")
    release()
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {}), "c": ("ProbeRead", {})},
        ["a.value -> b.value", "b.value -> c.value"],
    )
    before = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    release(ProbeRead="4", ProbePure="2")
    after = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([before.pk, after.pk])
    ended(before.pk), ended(after.pk)

    assert charges(before) == [("ProbeRead", 1.5), ("ProbeRead", 1.5)]
    assert charges(after) == [("ProbeRead", 4.0), ("ProbePure", 2.0), ("ProbeRead", 4.0)]
    made = list(PriceList.objects.order_by("id"))
    assert [(each.pk, each.made_by, each.prices) for each in made] == [
        (before.price_version, "migrate", {}),
        (after.price_version, "migrate", {}),
    ]
    price_lists.set_price(block_id("ProbePure"), None, made_by="a test")
    assert PriceList.objects.latest("id").declared == made[1].declared
    release(ProbeRead="0")
    assert PriceList.objects.latest("id").declared[block_id("ProbeRead")][0]["amount"] == 0


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
        services.start_runs(graph.id, 1, user_id=owner.pk, runs=[services.RunRequest(inputs={})] * 2)
    services.stop_run(UUID(started.json()["id"]))


def test_a_run_sets_aside_what_it_will_cost_and_gives_back_the_rest(owner: User, price: Charge) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead", "ProbeRead")
    runs = services.start_runs(graph.id, 1, user_id=owner.pk, runs=[services.RunRequest(inputs={})] * 2, ring=False)

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
    top_up(owner, 5, "topup:3")
    done = ended(run.pk)
    assert (done.status, outputs(done), balance(owner)) == ("COMPLETED", {"out": [1]}, 4.5)
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


def test_what_was_used_beyond_the_balance_is_owed(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", 1, "item")
    top_up(owner, 3)
    run(draw(owner, {"a": ("ProbeRead", {"times": 10})}))

    assert balance(owner) == -7
    assert Account.objects.get(user=owner.pk).floor == -7 * CREDIT
    with pytest.raises(InsufficientCredits):
        services.start_run(chain(owner, "ProbeRead").id, 1, user_id=owner.pk, inputs={})


def test_a_charge_is_never_more_than_can_be_counted(owner: User, run: Run, price: Charge) -> None:
    price("ProbeRead", MOST_CREDITS, "item")
    top_up(owner, MOST_CREDITS)
    done = run(draw(owner, {"a": ("ProbeRead", {"times": 3})}))

    assert (done.status, charges(done), balance(owner)) == ("COMPLETED", [("ProbeRead", MOST_CREDITS)], 0)


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


def test_what_is_called_is_paid_by_the_same_purse(owner: User, run: Run, price: Charge, calling: Drawn) -> None:
    price("ProbeRead", 1)
    price("ProbeKeyed", 2)
    top_up(owner, 50)
    done = run(calling)

    assert sorted(outputs(done)["out"]) == [1, 2, 3, 4]
    assert (len(charges()), balance(owner)) == (12, 34.0)
    root = Hold.objects.get(run_id=done.pk)
    assert (root.spent / CREDIT, root.taken / CREDIT, root.pool) == (8.0, 16.0, 0)


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


def test_the_catalogue_tells_what_blocks_cost(owner: User, price: Charge, client_of: Callable[..., Any]) -> None:
    def costs() -> dict[str, Any]:
        blocks = client_of(owner).get("/api/blocks").json()
        return {block["name"]: block["costs"] for block in blocks if block["costs"]}

    assert costs() == {}
    price("ProbeRead", 3, match={"value": 1})
    price("ProbeRead", 0.25, "token")
    assert costs() == {
        "ProbeRead": [
            {"cost_amount": 3, "cost_filter": {"value": 1}, "cost_type": "run"},
            {"cost_amount": 0.25, "cost_filter": {}, "cost_type": "token"},
        ]
    }


def test_an_operator_changes_prices_and_each_version_stays_on_record(
    client: Any, run: Run, owner: User, settings: Settings
) -> None:
    operator = make.a_user(role=Role.ADMIN)
    client.force_login(operator)
    entry = {"block": block_id("ProbeRead"), "position": 0, "amount": 2 * CREDIT, "per": "run", "match": "{}"}
    assert client.post("/admin/credits/priceentry/add/", entry).status_code == 302
    top_up(owner, 10)
    run(chain(owner, "ProbeRead"))
    page = f"/admin/credits/priceentry/{PriceEntry.objects.get().pk}/"
    assert client.post(f"{page}change/", {**entry, "amount": 3 * CREDIT}).status_code == 302
    run(chain(owner, "ProbeRead"))
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 302
    run(chain(owner, "ProbeRead"))

    assert charges() == [("ProbeRead", 2.0), ("ProbeRead", 3.0)]
    history = list(PriceList.objects.order_by("id").values_list("made_by", "prices"))
    document = {"per": "run", "match": {}}
    assert history == [
        (operator.email, {block_id("ProbeRead"): [{**document, "amount": 2 * CREDIT}]}),
        (operator.email, {block_id("ProbeRead"): [{**document, "amount": 3 * CREDIT}]}),
        (operator.email, {}),
    ]
    listed = client.get("/admin/credits/pricelist/").content.decode()
    assert "changed: 3000000 per run" in listed
    assert client.get("/admin/credits/hold/", {"q": owner.email}).status_code == 200


def test_an_operator_gives_a_filter_as_an_object_or_leaves_it_empty(
    client: Any, owner: User, client_of: Callable[..., Any]
) -> None:
    client.force_login(make.a_user(role=Role.ADMIN))
    entry = {"block": block_id("ProbeRead"), "position": 0, "amount": 2 * CREDIT, "per": "run"}
    page = "/admin/credits/priceentry/add/"
    for wrong in ('["x"]', "[]", '"x"', "3", "false"):
        assert "Give a JSON object" in client.post(page, {**entry, "match": wrong}).content.decode()
    assert (PriceEntry.objects.count(), PriceList.objects.filter(change__startswith="added").count()) == (0, 0)
    for position, empty in enumerate(("", "null", '""', "{}")):
        assert client.post(page, {**entry, "position": position, "match": empty}).status_code == 302
    assert list(PriceEntry.objects.values_list("match", flat=True)) == [{}] * 4
    with pytest.raises(IntegrityError, match="prices_match_pins_by_name"):
        PriceEntry.objects.update(match=["x"])
    odd = [{"amount": CREDIT, "per": "run", "match": match} for match in (["x"], None)]
    PriceList.objects.create(prices={block_id("ProbeRead"): odd}, made_by="a test", change="as it was")
    price_lists.forget()
    costs = {block["name"]: block["costs"] for block in client_of(owner).get("/api/blocks").json()}
    assert costs["ProbeRead"] == [{"cost_amount": 1, "cost_filter": {}, "cost_type": "run"}]


def test_the_audit_finds_what_does_not_fit(owner: User, run: Run, price: Charge, capsys: Any) -> None:
    price("ProbeRead", 2)
    top_up(owner, 10)
    done = run(chain(owner, "ProbeRead"))
    call_command("audit_ledger")
    told = capsys.readouterr().out
    assert "1 accounts, 2 transfers\n1 nodes with a price\nStripe was not asked\n0 mismatches" in told

    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(ordinal=5)
    Account.objects.update(balance=9 * CREDIT)
    Hold.objects.update(spent=1, released_at=None)
    with pytest.raises(CommandError, match="5 mismatches"):
        call_command("audit_ledger", days=1)
    told = capsys.readouterr().out
    assert "All accounts together hold 1000000 micro-credits, not 0" in told
    assert f"User {owner.pk} has 9000000 and 0 on hold, but transfers of 8000000" in told
    assert f"Run {done.pk} has ended, its hold is open" in told
    assert f"Run {done.pk} has used 2000000, its hold says 1" in told
    assert "costs 2000000, and was charged None" in told
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(ordinal=0)
    Account.objects.update(balance=8 * CREDIT)
    Hold.objects.update(spent=2 * CREDIT, released_at=now())
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(status="FAILED")
    assert [problem.endswith("no such node is COMPLETED") for problem in audit().problems] == [True]
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(status="COMPLETED")


@pytest.mark.parametrize(
    ("per", "amount", "costs"), [("item", 2, "6000000"), ("byte", 1, "at least 1"), ("second", 5, "at least 1")]
)
def test_the_audit_misses_charges_for_what_was_measured(
    owner: User, run: Run, price: Charge, per: str, amount: float, costs: str
) -> None:
    price("ProbeRead", amount, per)
    top_up(owner, 50)
    done = run(chain(owner, "ProbeRead", times=3))
    assert audit().problems == []
    nodes = NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead"))
    nodes.update(ordinal=5)
    assert audit().problems == [f"use:{done.pk}:{nodes.get().node_id}:5:{per} costs {costs}, and was charged None"]
    nodes.update(ordinal=0)


def test_nodes_of_a_package_that_is_gone_are_audited_by_the_prices_on_record(
    owner: User, run: Run, price: Charge, release: Callable[..., None], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(ProbePure="2")
    price("ProbeRead", 3)
    top_up(owner, 10)
    done = run(
        draw(owner, {"a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {}), "c": ("ProbeKeyed", {"value": 1})})
    )
    assert sorted(charges(done)) == [("ProbePure", 2.0), ("ProbeRead", 3.0)]
    gone = {block_id("ProbeRead"), block_id("ProbePure"), block_id("ProbeKeyed")}
    left = {block.id: block for block in BLOCKS.all() if block.id not in gone}
    monkeypatch.setitem(BLOCKS.__dict__, "_loaded", (left, ()))
    call_command("audit_ledger")
    assert "2 nodes with a price\nStripe was not asked\n0 mismatches" in capsys.readouterr().out

    nodes = NodeExecution.objects.filter(run=done.pk, block_id__in=gone)
    nodes.update(ordinal=5)
    with pytest.raises(CommandError, match="2 mismatches"):
        call_command("audit_ledger")
    told = capsys.readouterr().out
    assert "costs 3000000, and was charged None" in told
    assert "costs 2000000, and was charged None" in told
    nodes.update(ordinal=0)


def test_holds_of_deleted_runs_go_back_and_monthly_users_are_refilled(
    owner: User, engine: Engine, price: Charge, settings: Settings
) -> None:
    price("ProbeRead", 3)
    top_up(owner, 10)
    graph = chain(owner, "ProbeRead")
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    delete_graph(owner, graph.id)
    bookkeeping.tidy_up()
    assert balance(owner) == 7
    Hold.objects.update(placed_at="2020-01-01T00:00:00Z")
    bookkeeping.tidy_up()
    bookkeeping.tidy_up()
    assert (balance(owner), Hold.objects.get().run_id) == (10, run.pk)
    settings.CREDITS, settings.MONTHLY_CREDITS = "monthly", 20
    make.a_run(owner, chain(owner, "ProbeRead").id, status="WAITING", needs_credits=15 * CREDIT, price_version=0)
    bookkeeping.tidy_up()
    assert balance(owner) == 20


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
