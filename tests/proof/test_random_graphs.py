"""Random graphs do in the engine what the reference interpreter says."""

import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, reject, settings

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.errors import NotRunnable
from executions.models import GraphExecution, NodeExecution, NodeOutput
from graphs.definition import GraphDefinition
from graphs.services import load_definition
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended
from tests.proof.reference import Interpreter, Pick
from tests.proof.sketches import Sketch, sketches

BUDGET = 100
Seen = dict[str, Any]

# The engine spreads its sweeps by chance, on a thread of its own, while Hypothesis draws a graph.
pytestmark = [pytest.mark.filterwarnings("ignore:Do not use the .random. module"), pytest.mark.timeout(240)]


def schedules() -> list[Pick]:
    """Orders in which nodes that could go on do so."""
    chance = random.Random(7)
    return [lambda busy: busy[0], lambda busy: busy[-1], chance.choice, chance.choice]


def drawn(sketch: Sketch, called: Drawn, owner: User) -> Drawn:
    """The sketch as a saved graph."""
    for block, constants in sketch.nodes.values():
        if block == "AgentExecutor":
            constants["graph_id"] = str(called.id)
    return draw(owner, sketch.nodes, sketch.links)


def start(sketch: Sketch, graph: Drawn, owner: User) -> GraphExecution:
    """Queue a run of the sketch; one that cannot be started is no example."""
    masks = {str(graph.nodes[node]): mask for node, mask in sketch.masks.items()}
    try:
        return services.start_run(
            graph.id, 1, user_id=owner.pk, inputs=sketch.inputs, nodes_input_masks=masks, node_budget=BUDGET, ring=False
        )
    except NotRunnable:
        reject()


@lru_cache(maxsize=10)
def definition(graph_id: UUID) -> GraphDefinition:
    """The only version of a graph."""
    return load_definition(graph_id, 1)


def expected(sketch: Sketch, graph: Drawn, pick: Pick) -> Seen:
    """What the interpreter says."""
    masks = {str(graph.nodes[node]): mask for node, mask in sketch.masks.items()}
    run = Interpreter(definition(graph.id), sketch.inputs, masks, BUDGET, pick, definition).run()
    turns = [(turn.node, turn.inputs, turn.outputs, turn.status) for turn in run.turns]
    return seen(sketch, graph, run.status, turns, run.stalled, run.outputs)


def happened(sketch: Sketch, graph: Drawn, run: GraphExecution) -> Seen:
    """What the rows say."""
    nodes = list(NodeExecution.objects.filter(run=run.pk).order_by("node_id", "ordinal"))
    outputs: dict[UUID, list[tuple[str, Any]]] = {node.pk: [] for node in nodes}
    for output in NodeOutput.objects.filter(run=run.pk).order_by("node_execution_id", "ordinal"):
        outputs[output.node_execution_id].append((output.pin, output.value))
    turns = [(node.node_id, node.input_data, outputs[node.pk], node.status) for node in nodes]
    names = {graph.nodes[name] for name, (block, _) in sketch.nodes.items() if block == "AgentOutput"}
    given = [
        (node.input_data["name"], node.input_data["value"])
        for node in sorted(nodes, key=lambda node: (node.ended_at, node.pk))
        if node.node_id in names and node.status == "COMPLETED"
    ]
    stalled = {UUID(one["node_id"]): set(one["missing"]) for one in run.stalled}
    return seen(sketch, graph, run.status, turns, stalled, given)


def seen(
    sketch: Sketch,
    graph: Drawn,
    status: str,
    turns: Iterable[tuple[UUID, Any, Any, str]],
    stalled: dict[UUID, set[str]],
    outputs: list[tuple[str, Any]],
) -> Seen:
    """The parts of an outcome that do not depend on who was quicker."""
    found = list(turns)
    if status != "COMPLETED":
        # Which activations the budget sufficed for is a matter of luck.
        return {"status": status, "turns": len(found)}
    by_node: dict[str, list[Any]] = {name: [] for name in sketch.nodes}
    names = {node: name for name, node in graph.nodes.items()}
    for node, *rest in found:
        by_node[names[node]].append(rest)
    by_name: dict[str, list[Any]] = {}
    for name, value in outputs:
        by_name.setdefault(name, []).append(value)
    for name in sketch.in_any_order:
        by_node[name].sort(key=repr_of)
        by_name.get(name, []).sort(key=repr_of)
    return {
        "status": status,
        "turns": by_node,
        "stalled": {names[node]: missing for node, missing in stalled.items()},
        "outputs": by_name,
    }


def differences(one: Seen, other: Seen) -> Seen:
    """The parts that differ, as (one, other)."""
    found: Seen = {}
    for key in sorted(one.keys() | other.keys()):
        left, right = one.get(key), other.get(key)
        if left != right:
            found[key] = (
                differences(left, right) if isinstance(left, dict) and isinstance(right, dict) else (left, right)
            )
    return found


def repr_of(value: Any) -> str:
    """A text that is the same for equal JSON values."""
    if isinstance(value, dict):
        return repr(sorted((key, repr_of(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return repr([repr_of(inner) for inner in value])
    return repr(float(value)) if isinstance(value, int | float) else repr(value)


def compare(owner: User, engine: Engine, called: Drawn, bounded: settings) -> None:
    """Run sketches in the engine and in the interpreter."""

    @bounded
    @given(sketches())
    def agree(sketch: Sketch) -> None:
        graph = drawn(sketch, called, owner)
        run = start(sketch, graph, owner)
        engine.ring([run.pk])
        first, *others = [expected(sketch, graph, pick) for pick in schedules()]
        for other in others:
            assert differences(other, first) == {}, "the outcome of this sketch depends on who is quicker"
        assert differences(happened(sketch, graph, ended(run.pk)), first) == {}

    agree()


def test_the_engine_does_what_the_reference_interpreter_says(
    owner: User, engine: Engine, called: Drawn, bounds: Callable[..., settings]
) -> None:
    compare(owner, engine, called, bounds(200))


def test_any_graph_whatever_keeps_every_promise(
    owner: User, engine: Engine, called: Drawn, bounds: Callable[..., settings]
) -> None:
    @bounds(100)
    @given(sketches(wild=True))
    def ends(sketch: Sketch) -> None:
        run = start(sketch, drawn(sketch, called, owner), owner)
        engine.ring([run.pk])
        done = ended(run.pk)
        assert (done.status, done.error_code) in {("COMPLETED", ""), ("FAILED", "node_budget_exceeded")}

    ends()
