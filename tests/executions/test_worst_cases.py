"""No run costs more than its worst case was said to be."""

import random
from typing import Any
from uuid import UUID

import pytest
from django.db.models import Sum
from pytest_django import Settings

from accounts.models import User
from credits import ledger, price_lists
from credits.kinds import CREDIT, Kind
from credits.models import PriceEntry, Transfer
from executions import services
from executions.engine.engine import Engine
from executions.estimates import RunEstimate, estimate_run
from executions.models import GraphExecution
from executions.worst_case import Unknown
from graphs.models import Node
from graphs.services import load_definition
from tests import make
from tests.drawing import Drawn, block_id, draw
from tests.executions.conftest import Charge, ended

# Beside them, some call graphs.
BLOCKS = ("ProbePure", "ProbeRead", "ProbeThread", "ProbeKeyed")
GRAPHS = 12


@pytest.fixture(autouse=True)
def rich(owner: User, settings: Settings) -> None:
    """Whoever runs these graphs pays for them, and can."""
    settings.CREDITS = "paid"
    # Also of the runs that they call, which have no budget of their own.
    settings.OUTPUTS_PER_RUN = 30
    ledger.credit(owner.pk, 10**6 * CREDIT, kind=Kind.TOP_UP, key="topup:1")


def used_by(run: GraphExecution) -> int:
    """What a run and all that it called has used."""
    family = [run.pk, *GraphExecution.objects.filter(root_id=run.pk).values_list("pk", flat=True)]
    return Transfer.objects.filter(run_id__in=family, kind=Kind.USAGE).aggregate(used=Sum("amount"))["used"] or 0


def limited(graph: Drawn, node: str, **metadata: Any) -> None:
    Node.objects.filter(pk=graph.nodes[node]).update(metadata=metadata)


def estimated(graph: Drawn, **budgets: Any) -> RunEstimate:
    return estimate_run(load_definition(graph.id, 1), **budgets)


def started(engine: Engine, owner: User, graph: Drawn, **limits: Any) -> GraphExecution:
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={"in": 1}, ring=False, **limits)
    engine.ring([run.pk])
    return ended(run.pk)


class Chance:
    """Draws small graphs with prices."""

    def __init__(self, owner: User, seed: int) -> None:
        self._owner = owner
        self._any = random.Random(seed)

    def prices(self) -> None:
        """Set other prices: of each block up to two, the first of them for some values only."""
        PriceEntry.objects.all().delete()
        for block in BLOCKS:
            for position in range(self._any.randint(0, 2)):
                match = {"value": self._any.randint(1, 2)} if not position else {}
                per = self._any.choice(["run", "run", "item", "second", "byte"] if position else ["run", "item"])
                amount = self._any.randint(0, 3 * CREDIT)
                PriceEntry.objects.create(block=block_id(block), position=position, amount=amount, per=per, match=match)
        price_lists.publish("a test", "others")

    def graph(self, called: Drawn | None) -> Drawn:
        """A graph of up to five nodes, with loops, streams, failures and calls."""
        names = [f"n{number}" for number in range(self._any.randint(1, 5))]
        nodes: dict[str, tuple[str, dict[str, Any]]] = {"in": ("AgentInput", {"name": "in"})}
        for name in names:
            nodes[name] = self._node()
            if called and self._any.random() < 0.3:
                block, constants = make.an_agent(str(called.id), 1, ["in"])
                constants["input_schema"]["required"] = []
                nodes[name] = block, {**constants, "inputs": {"in": 1}}
        links = []
        for name in names:
            is_call = nodes[name][0] == "AgentExecutor"
            for _ in range(self._any.choice([0, 1, 1, 2])):
                source = self._any.choice(["in", *names])
                pin = {"in": "result"}.get(source, "error" if nodes[source][0] == "AgentExecutor" else "value")
                links.append(f"{source}.{pin} -> {name}.{'in' if is_call else 'value'}")
        drawn = draw(self._owner, nodes, list(dict.fromkeys(links)))
        for name in names:
            if self._any.random() < 0.5:
                attempts = {"attempts": self._any.randint(1, 2), "seconds": 0}
                limited(drawn, name, timeout_seconds=0.02, retry=attempts)
        return drawn

    def budgets(self) -> dict[str, int]:
        """What a run may do."""
        return {"node_budget": self._any.randint(1, 12), "output_budget": self._any.randint(1, 20)}

    def _node(self) -> tuple[str, dict[str, Any]]:
        constants: dict[str, Any] = {"value": self._any.randint(1, 3), "times": self._any.randint(0, 3)}
        if self._any.random() < 0.2:
            constants |= {"fail": "no", "recovers": self._any.random() < 0.5}
        if self._any.random() < 0.2:
            constants |= {"seconds": 0.015, "times": 2}
        return self._any.choice(BLOCKS), constants


def test_no_run_of_any_graph_costs_more_than_its_worst_case(owner: User, engine: Engine) -> None:
    seed = random.randrange(10**9)
    chance = Chance(owner, seed)
    called: Drawn | None = None
    known = 0
    for number in range(GRAPHS):
        chance.prices()
        # Each third one calls nothing, and is called by the next ones.
        is_callee = number % 3 == 0
        graph, budgets = chance.graph(None if is_callee else called), chance.budgets()
        told = estimated(graph, **budgets)
        run = started(engine, owner, graph, **budgets)
        about = (seed, number, run.pk)
        if told.whole.worst is None:
            assert told.whole.unknown, about
        else:
            known += 1
            assert used_by(run) <= told.whole.worst, about
        for each in told.nodes:
            assert (each.estimate.worst is None) == bool(each.estimate.unknown), about
            charged = Transfer.objects.filter(run_id=run.pk, metadata__node_id=str(each.node.id))
            used = charged.aggregate(used=Sum("amount"))["used"] or 0
            assert each.estimate.worst is None or used <= each.estimate.worst, (*about, each.node.id)
        called = graph if is_callee else called
    assert known > GRAPHS / 4, seed


def test_a_loop_and_a_stream_cost_what_their_budgets_allow(owner: User, engine: Engine, price: Charge) -> None:
    price("ProbePure", 2)
    loop = draw(owner, {"in": ("AgentInput", {"name": "in"}), "a": ("ProbePure", {})}, ["in.result -> a.value"])
    ring = draw(
        owner, {"a": ("ProbePure", {"value": 1}), "b": ("ProbePure", {})}, ["a.value -> b.value", "b.value -> b.value"]
    )
    assert used_by(started(engine, owner, loop)) == estimated(loop).whole.worst == 2 * CREDIT
    budgets = {"node_budget": 100, "output_budget": 1000}
    assert used_by(started(engine, owner, ring, **budgets)) == estimated(ring, **budgets).whole.worst == 201 * CREDIT
    price("ProbeRead", 3, "item")
    stream = draw(owner, {"a": ("ProbeRead", {"value": 1, "times": 7})})
    budgets = {"node_budget": 1, "output_budget": 7}
    assert used_by(started(engine, owner, stream, **budgets)) == estimated(stream, **budgets).whole.worst == 21 * CREDIT


def test_nobody_pays_for_more_seconds_than_the_time_limit_of_a_node_allows(
    owner: User, engine: Engine, price: Charge
) -> None:
    price("ProbePure", 10, "second")
    # What only computes is not interrupted.
    graph = draw(owner, {"a": ("ProbePure", {"value": 1, "seconds": 0.05})})
    assert estimated(graph).whole.unknown == (Unknown.MEASURED,)
    limited(graph, "a", timeout_seconds=0.01, retry={"attempts": 2})
    assert used_by(started(engine, owner, graph)) == estimated(graph).whole.worst == 10 * 0.02 * CREDIT


def test_each_attempt_of_a_node_may_call_a_graph_anew(owner: User, engine: Engine, price: Charge) -> None:
    price("ProbeRead", 2)
    failing = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {"fail": "no"}), "out": ("AgentOutput", {"name": "out"})},
        ["a.value -> b.value", "b.error -> out.value"],
    )
    caller = draw(owner, {"call": make.an_agent(str(failing.id))})
    limited(caller, "call", retry={"attempts": 3, "seconds": 0})
    assert estimated(caller).whole.worst == 3 * (estimated(failing).whole.worst or 0)
    assert 0 < used_by(started(engine, owner, caller)) <= 6 * CREDIT


@pytest.mark.parametrize(
    ("constants", "pin"),
    [
        ({}, "graph_id"),
        ({}, "graph_version"),
        ({}, "nodes_input_masks_#_x"),
        ({"nodes_input_masks": {str(UUID(int=1)): {"value": 1}}}, "user_id"),
    ],
)
def test_a_call_that_is_told_what_to_call_has_no_worst_case(
    owner: User, price: Charge, constants: dict[str, Any], pin: str
) -> None:
    price("ProbeRead", 2)
    called = draw(owner, {"a": ("ProbeRead", {"value": 1})})
    block, given = make.an_agent(str(called.id))
    nodes = {"in": ("AgentInput", {"name": "in"}), "call": (block, {**given, **constants})}
    told = estimated(draw(owner, nodes, [f"in.result -> call.{pin}"]))
    assert (told.whole.worst, told.whole.unknown) == (None, (Unknown.CALLS,))
