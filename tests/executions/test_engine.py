"""What a run does, seen in its rows."""

from typing import Any

import pytest

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.kinds import NodeStatus, Status
from executions.models import Event, GraphExecution, NodeExecution, NodeOutput, Token
from tests.drawing import Drawn, draw
from tests.executions.conftest import Run, ended


def outputs(run: GraphExecution) -> dict[str, list[Any]]:
    """A run's outputs by name: what its output nodes were given."""
    found: dict[str, list[Any]] = {}
    nodes = NodeExecution.objects.filter(run=run.pk, status=NodeStatus.COMPLETED, input_data__has_key="escape_html")
    for node in nodes.order_by("ended_at"):
        found.setdefault(node.input_data["name"], []).append(node.input_data["value"])
    return found


def output(name: str = "out") -> tuple[str, dict[str, Any]]:
    """An output node."""
    return "AgentOutput", {"name": name, "escape_html": False}


def emitted(run: GraphExecution, graph: Drawn, node: str) -> list[tuple[str, Any]]:
    """What a node gave in the run, over all its activations, as (pin, value) in order."""
    rows = NodeOutput.objects.filter(run=run.pk, node_execution__node_id=graph.nodes[node])
    return list(rows.order_by("node_execution__ordinal", "ordinal").values_list("pin", "value"))


def kinds(run: GraphExecution) -> list[str]:
    """The kinds of a run's events; their numbers must be 1, 2, 3 and so on."""
    rows = list(Event.objects.filter(run=run.pk).order_by("seq").values_list("seq", "kind"))
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
    assert rows[-1][0] == run.head_seq
    return [kind for _, kind in rows]


def test_a_chain_hands_its_value_through(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "number"}),
            "add": ("Calculator", {"operation": "Add", "b": 2}),
            "out": output(),
        },
        ["in.result -> add.a", "add.result -> out.value"],
    )
    ended = run(graph, number=40)
    assert ended.status == Status.COMPLETED
    assert outputs(ended) == {"out": [42.0]}
    assert (ended.node_count, ended.node_error_count) == (3, 0)
    assert kinds(ended) == ["run.queued", "run.started", *["node.completed"] * 3, "run.completed"]


def test_a_diamond_joins_once_both_sides_are_there(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "x"}),
            "double": ("Calculator", {"operation": "Multiply", "b": 2}),
            "slow": ("ProbeRead", {"value": 3, "seconds": 0.05}),
            "sum": ("Calculator", {"operation": "Add"}),
            "out": output(),
        },
        ["in.result -> double.a", "double.result -> sum.a", "slow.value -> sum.b", "sum.result -> out.value"],
    )
    assert outputs(run(graph, x=5)) == {"out": [13.0]}


def test_values_pair_oldest_first_and_leftovers_wait(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "letters": ("StepThroughItems", {"items": ["a", "b", "c"]}),
            "digits": ("StepThroughItems", {"items": [1, 2]}),
            "pair": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "letters.item -> pair.values_#_letter",
            "digits.item -> pair.values_#_digit",
            "pair.dictionary -> out.value",
        ],
    )
    ended = run(graph)
    assert outputs(ended) == {"out": [{"letter": "a", "digit": 1}, {"letter": "b", "digit": 2}]}
    assert Token.objects.filter(run=ended.pk).count() == 1


@pytest.mark.parametrize("arrow", ["=>", "->"])
def test_an_output_that_its_block_declares_static_serves_every_activation_however_its_link_is_drawn(
    owner: User, run: Run, arrow: str
) -> None:
    graph = draw(
        owner,
        {
            "factor": ("AgentInput", {"name": "factor"}),
            "numbers": ("StepThroughItems", {"items": [1, 2, 3]}),
            "times": ("Calculator", {"operation": "Multiply"}),
            "out": output(),
        },
        [f"factor.result {arrow} times.b", "numbers.item -> times.a", "times.result -> out.value"],
    )
    assert outputs(run(graph, factor=10)) == {"out": [10.0, 20.0, 30.0]}


def test_a_static_value_that_comes_late_releases_all_that_waited(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "numbers": ("StepThroughItems", {"items": [1, 2, 3]}),
            "late": ("ProbeRead", {"value": 10, "seconds": 0.05}),
            "times": ("Calculator", {"operation": "Multiply"}),
            "out": output(),
        },
        ["late.value => times.b", "numbers.item -> times.a", "times.result -> out.value"],
    )
    assert outputs(run(graph)) == {"out": [10.0, 20.0, 30.0]}


def test_a_loop_folds_a_list(owner: User, run: Run) -> None:
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
    ended = run(graph)
    assert outputs(ended) == {"out": [5.0]}
    assert NodeExecution.objects.filter(run=ended.pk, node_id=graph.nodes["add"]).count() == 5


def test_parts_of_a_value_leave_on_their_own_links(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "row": ("StoreValue", {"input": {"name": "Ada", "tags": ["x", "y"]}}),
            "text": ("CombineTexts", {"delimiter": "-"}),
            "out": output(),
            "never": output("never"),
        },
        [
            "row.output_#_name -> text.input_$_0",
            "row.output_#_tags_$_1 -> text.input_$_1",
            "row.output_#_absent -> never.value",
            "text.output -> out.value",
        ],
    )
    assert outputs(run(graph)) == {"out": ["Ada-y"]}


def test_an_error_leaves_on_the_error_pin_and_the_run_goes_on(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "bad": ("ProbeRead", {"value": 1, "fail": "the well is dry"}),
            "caught": output("caught"),
            "before": output("before"),
            "good": ("StoreValue", {"input": "fine"}),
            "out": output(),
        },
        ["bad.error -> caught.value", "bad.value -> before.value", "good.output -> out.value"],
    )
    ended = run(graph)
    assert ended.status == Status.COMPLETED
    message = "RuntimeError: the well is dry"
    assert outputs(ended) == {"out": ["fine"], "before": [1], "caught": [message]}
    failed = NodeExecution.objects.get(run=ended.pk, node_id=graph.nodes["bad"])
    assert (failed.status, failed.error) == (NodeStatus.FAILED, message)
    assert ended.node_error_count == 1


def test_a_value_of_the_wrong_type_fails_its_node_by_name(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "text": ("StoreValue", {"input": "many"}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "out": output(),
        },
        ["text.output -> add.a", "add.error -> out.value"],
    )
    assert outputs(run(graph)) == {"out": ["Input of CalculatorBlock: 'a': a number is needed, not 'many'"]}


@pytest.mark.parametrize("probe", ["ProbePure", "ProbeRead", "ProbeThread"])
def test_a_stream_is_handed_on_in_order(owner: User, run: Run, probe: str) -> None:
    graph = draw(
        owner,
        {
            "stream": (probe, {"value": "x", "times": 700}),
            "count": ("ProbePure", {}),
            "out": output(),
        },
        ["stream.value -> count.value", "count.value -> out.value"],
    )
    ended = run(graph)
    assert outputs(ended) == {"out": ["x"] * 700}
    ordinals = NodeOutput.objects.filter(run=ended.pk, node_execution__node_id=graph.nodes["stream"])
    assert list(ordinals.order_by("ordinal").values_list("ordinal", flat=True)) == list(range(700))
    assert not Token.objects.filter(run=ended.pk).exists()


def test_what_a_stream_gives_is_used_while_it_still_runs(owner: User, run: Run, tmp_path: Any) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    graph = draw(
        owner,
        {
            "stream": ("ProbeRead", {"value": str(hold), "times": 2, "seconds": 0.05}),
            "out": output(),
        },
        ["stream.value -> out.value"],
    )
    ended = run(graph)
    rows = NodeExecution.objects.filter(run=ended.pk)
    stream = rows.get(node_id=graph.nodes["stream"])
    first = rows.filter(node_id=graph.nodes["out"]).order_by("ordinal")[0]
    assert first.ended_at is not None
    assert stream.ended_at is not None
    assert first.ended_at < stream.ended_at


def test_outputs_of_one_node_are_handed_on_in_the_order_its_activations_began(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "delays": ("StepThroughItems", {"items": [0.15, 0.0, 0.05]}),
            "echo": ("ProbeRead", {}),
            "out": output(),
        },
        ["delays.item -> echo.seconds", "delays.item -> echo.value", "echo.value -> out.value"],
    )
    assert outputs(run(graph)) == {"out": [0.15, 0.0, 0.05]}


def test_nodes_that_wait_for_the_world_run_beside_each_other(owner: User, run: Run) -> None:
    nodes: dict[str, Any] = {f"wait{n}": ("ProbeRead", {"seconds": 0.2, "value": n}) for n in range(50)}
    ended = run(draw(owner, nodes))
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.node_count == 50
    assert ended.node_seconds >= 50 * 0.2
    assert (ended.ended_at - ended.started_at).total_seconds() < 5


def child(owner: User) -> Drawn:
    """A graph that adds one, and fails on text."""
    return draw(
        owner,
        {
            "in": ("AgentInput", {"name": "n"}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "out": output("more"),
        },
        ["in.result -> add.a", "add.result -> out.value"],
        name="child",
    )


def calling(graph: Drawn) -> tuple[str, dict[str, Any]]:
    """A node that runs `graph`."""
    return "AgentExecutor", {
        "graph_id": str(graph.id),
        "graph_version": graph.version,
        "input_schema": {"properties": {"n": {}}},
        "output_schema": {"properties": {"more": {}}},
    }


def test_a_graph_runs_in_a_graph_twice(owner: User, run: Run) -> None:
    inner = child(owner)
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "start"}),
            "first": calling(inner),
            "second": calling(inner),
            "out": output(),
        },
        ["in.result -> first.n", "first.more -> second.n", "second.more -> out.value"],
    )
    ended = run(graph, start=40)
    assert ended.status == Status.COMPLETED
    assert outputs(ended) == {"out": [42.0]}
    children = GraphExecution.objects.filter(parent=ended.pk)
    assert [(c.status, c.depth, c.root_id) for c in children] == [(Status.COMPLETED, 1, ended.pk)] * 2
    called = NodeExecution.objects.filter(run=ended.pk, node_id__in=[graph.nodes["first"], graph.nodes["second"]])
    assert {node.waits[0]["child"] for node in called} == {str(c.pk) for c in children}


def test_a_graph_that_calls_itself_stops_at_the_depth_limit(owner: User, run: Run) -> None:
    graph = draw(owner, {"again": ("AgentExecutor", {})})
    node = graph.nodes["again"]
    # Drawn first, because only then is there an id to call.
    from graphs.models import Node

    Node.objects.filter(pk=node).update(input_default=calling(graph)[1])
    ended = run(graph)
    assert ended.status == Status.COMPLETED
    assert GraphExecution.objects.filter(root_id=ended.pk).count() == 8
    deepest = GraphExecution.objects.get(root_id=ended.pk, depth=8)
    assert "up to 8 levels deep" in NodeExecution.objects.get(run=deepest.pk).error


def test_a_timer_gives_its_worker_back_and_goes_on(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"timer": ("CountdownTimer", {"seconds": 2, "input_message": "tick", "repeat": 1}), "out": output()},
        ["timer.output_message -> out.value"],
    )
    ended = run(graph)
    assert outputs(ended) == {"out": ["tick"]}
    assert ended.fence == 2
    timer = NodeExecution.objects.get(run=ended.pk, node_id=graph.nodes["timer"])
    assert timer.ended_at is not None
    assert (timer.ended_at - timer.started_at).total_seconds() >= 2


def test_a_short_timer_repeats_without_a_second_claim(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"timer": ("CountdownTimer", {"seconds": 0.1, "input_message": "tick", "repeat": 3}), "out": output()},
        ["timer.output_message -> out.value"],
    )
    ended = run(graph)
    assert outputs(ended) == {"out": ["tick"] * 3}
    assert ended.fence == 1


def test_no_parent_sleeps_through_the_end_of_its_children(owner: User, engine: Engine) -> None:
    inner = child(owner)
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "start"}),
            **{f"call{n}": calling(inner) for n in range(3)},
            "pause": ("CountdownTimer", {"seconds": 0.01}),
            "last": calling(inner),
            "out": output(),
        },
        [
            *(f"in.result -> call{n}.n" for n in range(3)),
            "call0.more -> pause.input_message",
            "pause.output_message -> last.n",
            "last.more -> out.value",
        ],
    )
    runs = [services.start_run(graph.id, 1, user_id=owner.pk, inputs={"start": n}, ring=False) for n in range(40)]
    engine.ring([run.pk for run in runs])
    stuck = [run.pk for run in runs if outputs(ended(run.pk, timeout=20)) != {"out": [run.inputs["start"] + 2.0]}]
    assert stuck == []
