"""A replay runs a node of a run that has ended, and what follows it, anew; and what cannot be run again."""

import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from executions.again import replay_run, retry_run
from executions.errors import NoSuchNode, NoSuchRun, NothingToRetry, NotRunnable, RunUnderWay
from executions.kinds import Status
from executions.models import GraphExecution, NodeExecution, Token
from tests import make
from tests.drawing import draw
from tests.executions.again.conftest import Again, turns
from tests.executions.conftest import Run
from tests.executions.test_engine import output, outputs


def test_a_replay_runs_a_node_and_what_follows_with_other_inputs(
    owner: User, run: Run, again: Again, log: Path, tmp_path: Path
) -> None:
    after = tmp_path / "after"
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "x"}),
            "paid": ("ProbeKeyed", {"log": str(log)}),
            "times": ("Calculator", {"operation": "Multiply", "b": 10}),
            "send": ("ProbeKeyed", {"log": str(after)}),
            "out": output(),
        },
        ["in.result -> paid.value", "paid.value -> times.a", "times.result -> send.value", "send.value -> out.value"],
    )
    first = run(graph, x=2)
    done = again(first, graph.nodes["times"], {"b": 100})
    assert (outputs(first), outputs(done)) == ({"out": [20.0]}, {"out": [200.0]})
    assert (turns(log), turns(after)) == (1, 2)
    same = again(done, graph.nodes["send"])
    assert outputs(same) == {"out": [200.0]}
    assert (turns(log), turns(after)) == (1, 3)


def test_a_replay_from_an_input_takes_other_values(owner: User, run: Run, again: Again) -> None:
    graph = draw(owner, {"in": ("AgentInput", {"name": "x"}), "out": output()}, ["in.result -> out.value"])
    done = again(run(graph, x=1), graph.nodes["in"], {"value": 2})
    assert outputs(done) == {"out": [2]}


def test_a_replay_of_static_values_pairs_and_parts_gives_the_same(owner: User, run: Run, again: Again) -> None:
    graph = draw(
        owner,
        {
            "factor": ("AgentInput", {"name": "factor"}),
            "rows": ("StepThroughItems", {"items": [{"n": 1}, {"m": 0}, {"n": 2}, {"n": 3}]}),
            "names": ("StepThroughItems", {"items": ["a", "b", "c", "d"]}),
            "times": ("Calculator", {"operation": "Multiply"}),
            "pair": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "factor.result => times.b",
            "rows.item_#_n -> times.a",
            "times.result -> pair.values_#_number",
            "names.item -> pair.values_#_name",
            "pair.dictionary -> out.value",
        ],
    )
    first = run(graph, factor=10)
    expected = {"out": [{"number": n * 10.0, "name": name} for n, name in [(1, "a"), (2, "b"), (3, "c")]]}
    assert outputs(first) == expected
    for node in ("times", "pair", "out", "rows", "factor", "names"):
        done = again(first, graph.nodes[node])
        assert outputs(done) == expected, node
        assert Token.objects.filter(run=done.pk).count() == Token.objects.filter(run=first.pk).count()


def test_a_replay_of_a_loop_begins_the_loop_anew(owner: User, run: Run, again: Again) -> None:
    graph = draw(
        owner,
        {
            "seed": ("StoreValue", {"input": 0}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "more": ("Condition", {"operator": "<", "value2": 5}),
            "out": output(),
        },
        [
            "seed.output -> add.a",
            "add.result -> more.value1",
            "more.yes_output -> add.a",
            "more.no_output -> out.value",
        ],
    )
    done = again(run(graph), graph.nodes["more"], {"value2": 7})
    assert outputs(done) == {"out": [7.0]}
    assert NodeExecution.objects.filter(run=done.pk, node_id=graph.nodes["add"]).count() == 7


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_from_any_node_of_any_graph_gives_the_same(owner: User, run: Run, again: Again, seed: int) -> None:
    dice = random.Random(seed)
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        f"items{i}": ("StepThroughItems", {"items": [f"{i}{n}" for n in range(dice.randint(1, 4))]}) for i in range(3)
    }
    gives = [f"{name}.item" for name in nodes]
    nodes["once"] = ("StoreValue", {"input": "once"})
    links = []
    for place in range(6):
        name = f"node{place}"
        nodes[name] = ("CreateDictionary", {})
        left, right = dice.sample(gives, 2)
        # Where several values meet on one pin, their order may be another when some of them come anew.
        links += [
            f"{left} -> {name}.values_#_left",
            f"once.output => {name}.values_#_right" if dice.random() < 0.3 else f"{right} -> {name}.values_#_right",
        ]
        gives.append(dice.choice([f"{name}.dictionary", f"{name}.dictionary_#_left"]))
    nodes["out"] = output()
    links += [f"{give} -> out.value" for give in dice.sample(gives, 3)]
    graph = draw(owner, nodes, links)
    first = run(graph)
    for node in nodes:
        done = again(first, graph.nodes[node])
        assert sorted(map(str, outputs(done)["out"])) == sorted(map(str, outputs(first)["out"])), node


def test_what_cannot_be_run_again_says_why_and_leaves_nothing(owner: User, run: Run) -> None:
    graph = draw(owner, {"in": ("AgentNumberInput", {"name": "x"}), "out": output()}, ["in.result -> out.value"])
    done = run(graph, x=1)
    going = make.a_run(owner, graph.id, status=Status.WAITING)
    with pytest.raises(NothingToRetry):
        retry_run(done.pk)
    for unfinished in (lambda: retry_run(going.pk), lambda: replay_run(going.pk, graph.nodes["in"])):
        with pytest.raises(RunUnderWay):
            unfinished()
    with pytest.raises(NoSuchRun):
        retry_run(uuid4())
    with pytest.raises(NoSuchNode):
        replay_run(done.pk, uuid4())
    with pytest.raises(NotRunnable):
        replay_run(done.pk, graph.nodes["in"], {"value": "no number"})
    assert GraphExecution.objects.count() == 2


def test_one_key_starts_one_run(owner: User, run: Run) -> None:
    graph = draw(owner, {"bad": ("ProbePure", {"fail": "always"})})
    failed = run(graph)
    first = retry_run(failed.pk, trigger_key="once", ring=False)
    assert retry_run(failed.pk, trigger_key="once", ring=False).pk == first.pk
    assert GraphExecution.objects.filter(source_run_id=failed.pk).count() == 1
    assert NodeExecution.objects.filter(run=first.pk).count() == 1
