"""What a run is likely to cost, before it is started."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits import ledger, price_lists
from credits.kinds import CREDIT, Kind
from credits.models import PriceEntry
from executions.estimates import estimate_run
from executions.models import GraphExecution
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from graphs.models import Node
from tests import make
from tests.drawing import Drawn, block_id, draw
from tests.executions.conftest import Run
from tests.executions.test_engine import output


@pytest.fixture(autouse=True)
def paid(settings: Settings) -> None:
    """People pay for what they use."""
    settings.CREDITS = "paid"


@pytest.fixture
def ada(owner: User, client_of: Callable[[User], APIClient]) -> APIClient:
    """The client of whose graphs these are."""
    ledger.credit(owner.pk, 1000 * CREDIT, kind=Kind.TOP_UP, key="topup:1")
    return client_of(owner)


def price(block: str, amount: float, per: str = "run", **match: Any) -> None:
    PriceEntry.objects.create(
        block=block_id(block), position=PriceEntry.objects.count(), amount=int(amount * CREDIT), per=per, match=match
    )
    price_lists.publish("a test", f"{block} costs {amount}")


def estimate(client: APIClient, graph: Drawn, **asked: Any) -> Any:
    answer = client.post(f"/api/graphs/{graph.id}/estimate", asked, format="json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def figures(told: Any) -> tuple[str, int, int, int | None]:
    return (told["estimated_from"], told["p50_microcredits"], told["p90_microcredits"], told["worst_microcredits"])


def of_node(told: Any, block: str) -> tuple[Any, ...]:
    [node] = [node for node in told["nodes"] if node["block_id"] == block_id(block)]
    return (*figures(node), node["unknown"], node["price_per"])


def fed(owner: User) -> Drawn:
    """An input that feeds a block, and one behind it."""
    return draw(
        owner,
        {"in": ("AgentInput", {"name": "value"}), "a": ("ProbeRead", {}), "b": ("ProbePure", {}), "out": output()},
        ["in.result -> a.value", "a.value -> b.value", "b.value -> out.value"],
    )


def test_without_runs_the_drawing_tells(ada: APIClient, owner: User) -> None:
    graph = fed(owner)
    assert figures(estimate(ada, graph)) == ("free", 0, 0, 100_000 // 100 * CREDIT)
    price("ProbeRead", 2.5)
    told = estimate(ada, graph, node_budget=10)
    assert {key: told[key] for key in ("graph_id", "graph_version", "is_metered", "runs_looked_at")} == {
        "graph_id": str(graph.id), "graph_version": 1, "is_metered": True, "runs_looked_at": 0,
    }  # fmt: skip
    assert figures(told) == ("limits", 2_500_000, 2_500_000, 2_500_000)
    assert (told["p50"], told["p90"], told["worst"]) == (3, 3, 3)
    assert of_node(told, "ProbeRead") == ("limits", 2_500_000, 2_500_000, 2_500_000, [], "run")
    assert of_node(told, "ProbePure") == ("free", 0, 0, 0, [], None)
    price("ProbePure", 1)
    told = estimate(ada, graph, node_budget=10)
    # What is behind a block may get several values: as many as the budget of activations allows.
    assert of_node(told, "ProbePure") == ("limits", 1_000_000, 1_000_000, 10_000_000, [], "run")
    assert figures(told) == ("limits", 3_500_000, 3_500_000, 2_500_000 + 9 * 1_000_000)
    assert GraphExecution.objects.count() == 0


def test_a_graph_whose_nodes_run_once_has_a_worst_case_of_its_own(ada: APIClient, owner: User) -> None:
    price("ProbeRead", 5, value="large")
    price("ProbeRead", 2)
    graph = draw(owner, {"in": ("AgentInput", {"name": "x"}), "a": ("ProbeRead", {})}, ["in.result -> a.value"])
    assert figures(estimate(ada, graph)) == ("limits", 5_000_000, 5_000_000, 5_000_000)
    small = draw(owner, {"a": ("ProbeRead", {"value": "small"})})
    assert figures(estimate(ada, small)) == ("limits", 2_000_000, 2_000_000, 5_000_000)


def test_what_is_measured_without_a_limit_has_no_worst_case_but_a_budget(ada: APIClient, owner: User) -> None:
    price("ProbeRead", 1)
    loop = draw(
        owner,
        {"in": ("AgentInput", {"name": "x"}), "a": ("ProbeRead", {}), "b": ("ProbePure", {})},
        ["in.result -> a.value", "a.value -> b.value", "b.value -> a.value"],
    )
    told = estimate(ada, loop, node_budget=50)
    assert of_node(told, "ProbeRead") == ("limits", 1_000_000, 1_000_000, 50_000_000, [], "run")
    assert figures(told) == ("limits", 1_000_000, 1_000_000, 50_000_000)
    price("ProbePure", 0.25, "second")
    told = estimate(ada, loop)
    assert of_node(told, "ProbePure") == ("limits", 250_000, 250_000, None, ["measured"], "second")
    assert (figures(told), told["unknown"]) == (("limits", 1_250_000, 1_250_000, None), ["measured"])
    capped = estimate(ada, loop, max_credits=1)
    assert (figures(capped), capped["unknown"]) == (("limits", 1_000_000, 1_000_000, 1_000_000), [])
    caller = draw(owner, {"a": make.an_agent(str(loop.id), 1, ["x"])})
    told = estimate(ada, caller)
    assert (told["worst_microcredits"], told["unknown"]) == (None, ["calls"])
    assert estimate(ada, caller, max_credits=7)["worst"] == 7


def test_five_finished_runs_at_these_prices_tell_more(ada: APIClient, owner: User, run: Run) -> None:
    price("ProbeRead", 1, "item")
    graph = draw(
        owner,
        {"in": ("AgentInput", {"name": "times"}), "a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {})},
        ["in.result -> a.times", "a.value -> b.value"],
    )
    for times in (1, 2, 3, 4):
        run(graph, times=times)
    budgets = {"node_budget": 10, "output_budget": 20}
    told = estimate(ada, graph, **budgets)
    assert (figures(told), told["runs_looked_at"]) == (("limits", 1_000_000, 1_000_000, 20_000_000), 4)
    run(graph, times=9)
    told = estimate(ada, graph, **budgets)
    assert (figures(told), told["runs_looked_at"]) == (("history", 3_000_000, 9_000_000, 20_000_000), 5)
    assert of_node(told, "ProbeRead") == ("history", 3_000_000, 9_000_000, 20_000_000, [], "item")
    assert of_node(told, "ProbePure") == ("free", 0, 0, 0, [], None)
    assert figures(estimate(ada, graph, max_credits=4)) == ("history", 3_000_000, 4_000_000, 4_000_000)
    price("ProbePure", 1)
    told = estimate(ada, graph)
    assert (told["estimated_from"], told["runs_looked_at"]) == ("limits", 0)


def test_while_credits_are_disabled_everything_is_free(ada: APIClient, owner: User, settings: Settings) -> None:
    price("ProbeRead", 2)
    settings.CREDITS = "disabled"
    told = estimate(ada, fed(owner))
    assert (told["is_metered"], *figures(told)) == (False, "free", 0, 0, 0)
    assert {node["estimated_from"] for node in told["nodes"]} == {"free"}


def test_what_is_not_ones_own_is_not_estimated(
    ada: APIClient, owner: User, stranger: APIClient, anonymous: APIClient
) -> None:
    graph = fed(owner)
    path = f"/api/graphs/{graph.id}/estimate"
    assert stranger.post(path, {}, format="json").status_code == 404
    assert anonymous.post(path, {}, format="json").status_code == 401
    assert ada.post(path, {"graph_version": 2}, format="json").status_code == 404
    for body in (
        {"graph_version": 0},
        {"node_budget": 0},
        {"output_budget": 0},
        {"max_credits": 0},
        {"max_credits": "all"},
    ):
        assert ada.post(path, body, format="json").status_code == 422, body
    for amount in ("30", "1_000", 30.0, 1.5, True):
        refused = ada.post(path, {"max_credits": amount}, format="json")
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "max_credits"])


def test_what_a_run_called_counts_with_it(ada: APIClient, owner: User, run: Run) -> None:
    price("ProbeRead", 2)
    called = draw(owner, {"a": ("ProbeRead", {"value": 1}), "b": ("ProbeRead", {"value": 1})})
    caller = draw(owner, {"own": ("ProbeRead", {"value": 1}), "call": make.an_agent(str(called.id))})
    told = estimate(ada, caller)
    assert (figures(told), told["runs_looked_at"]) == (("limits", 6_000_000, 6_000_000, 6_000_000), 0)
    for _ in range(5):
        run(caller)
    told = estimate(ada, caller)
    assert (figures(told), told["runs_looked_at"]) == (("history", 6_000_000, 6_000_000, 6_000_000), 5)
    assert of_node(told, "AgentExecutor") == ("limits", 4_000_000, 4_000_000, 4_000_000, [], None)
    assert of_node(told, "ProbeRead") == ("history", 2_000_000, 2_000_000, 2_000_000, [], "run")
    assert estimate(ada, called)["runs_looked_at"] == 0


def test_calls_in_a_circle_come_to_an_end(ada: APIClient, owner: User) -> None:
    price("ProbeRead", 2)
    graph = draw(owner, {"a": ("ProbeRead", {"value": 1}), "call": make.an_agent(str(uuid4()))})
    block, constants = make.an_agent(str(graph.id))
    Node.objects.filter(graph_version__graph=graph.id, block_id=block_id(block)).update(input_default=constants)
    told = estimate(ada, graph)
    assert (figures(told), told["unknown"]) == (("limits", 2_000_000, 2_000_000, None), ["calls"])
    assert of_node(told, "AgentExecutor") == ("limits", 0, 0, None, ["calls"], None)


def test_a_large_graph_is_estimated_at_once(owner: User) -> None:
    price("ProbeRead", 1)
    count = 3000
    nodes = tuple(NodeDefinition(UUID(int=number), block_id("ProbeRead")) for number in range(count))
    links = tuple(
        LinkDefinition(uuid4(), UUID(int=number), "value", UUID(int=(number + 1) % count), "value")
        for number in range(count)
    )
    graph = GraphDefinition(uuid4(), 1, owner.pk, "ring", nodes, links)
    begun = time.perf_counter()
    told = estimate_run(graph, node_budget=10_000)
    assert time.perf_counter() - begun < 2
    assert told.whole.p50 == (count + count // 100) * CREDIT
    assert {each.estimate.worst for each in told.nodes} == {10_000 * CREDIT}
    assert told.whole.worst == (10_000 + 10_000 // 100) * CREDIT
