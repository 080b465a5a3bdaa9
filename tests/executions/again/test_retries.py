"""A retry takes over what succeeded and runs what did not."""

import random
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from executions import services
from executions.again import retry_run
from executions.engine.engine import Engine
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution
from graphs.models import Node
from tests.drawing import draw
from tests.executions.again.conftest import Again, turns
from tests.executions.conftest import Run, ended, eventually
from tests.executions.test_engine import calling, child, emitted, kinds, output, outputs


def test_a_retry_runs_only_what_failed(owner: User, run: Run, again: Again, log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "paid": ("ProbeKeyed", {"value": 1, "log": str(log)}),
            "flaky": ("ProbeKeyed", {"log": str(folder / "log")}),
            "out": output(),
        },
        ["paid.value -> flaky.value", "flaky.value -> out.value"],
    )
    failed = run(graph)
    assert (failed.status, failed.node_error_count, outputs(failed)) == (Status.COMPLETED, 1, {})
    folder.mkdir()
    done = again(failed)
    assert (done.status, done.node_error_count, outputs(done)) == (Status.COMPLETED, 0, {"out": [1]})
    assert (turns(log), turns(folder / "log")) == (1, 1)
    assert kinds(done) == [
        "run.queued", "node.completed", "run.started", "node.started", "node.completed", "node.completed",
        "run.completed",
    ]  # fmt: skip
    taken = NodeExecution.objects.get(run=done.pk, node_id=graph.nodes["paid"])
    assert (taken.started_fence, taken.status) == (0, NodeStatus.COMPLETED)


def test_an_unsafe_node_that_failed_is_run_again_when_asked(
    owner: User, run: Run, again: Again, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {"send": ("ProbeUnsafe", {"value": 1, "log": str(folder / "log")}), "out": output()},
        ["send.value -> out.value"],
    )
    failed = run(graph)
    folder.mkdir()
    assert outputs(again(failed)) == {"out": [1]}
    assert turns(folder / "log") == 1


def test_of_a_fan_out_only_the_failed_branch_is_run_again(
    owner: User, run: Run, again: Again, log: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "items": ("StepThroughItems", {"items": [str(log), str(folder / "log"), str(log)]}),
            "call": ("ProbeKeyed", {"value": "done"}),
            "out": output(),
        },
        ["items.item -> call.log", "call.value -> out.value"],
    )
    failed = run(graph)
    assert (outputs(failed), turns(log)) == ({"out": ["done"] * 2}, 2)
    folder.mkdir()
    done = again(failed)
    assert outputs(done) == {"out": ["done"] * 3}
    assert (turns(log), turns(folder / "log")) == (2, 1)


def test_what_followed_from_an_error_is_left_behind(
    owner: User, run: Run, again: Again, log: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "items": ("StepThroughItems", {"items": [str(folder / "log"), str(log)]}),
            "call": ("ProbeKeyed", {"value": "done"}),
            "tell": ("StoreValue", {}),
            "numbers": ("StepThroughItems", {"items": [1, 2]}),
            "pair": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "items.item -> call.log",
            "call.error -> tell.input",
            "call.value -> tell.input",
            "tell.output -> pair.values_#_what",
            "numbers.item -> pair.values_#_number",
            "pair.dictionary -> out.value",
        ],
    )
    failed = run(graph)
    assert len(outputs(failed)["out"]) == 2
    folder.mkdir()
    done = again(failed)
    given = outputs(done)["out"]
    assert [pair["what"] for pair in given] == ["done", "done"]
    assert sorted(pair["number"] for pair in given) == [1, 2]
    assert (turns(log), turns(folder / "log")) == (1, 1)


def test_an_error_between_the_values_of_a_stream_is_left_behind_and_not_they(
    owner: User, run: Run, again: Again, log: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "stream": ("ProbeRead", {"value": "streamed", "times": 2, "seconds": 0.3}),
            "flaky": ("ProbeKeyed", {"log": str(folder / "log")}),
            "use": ("ProbeKeyed", {"log": str(log)}),
            "out": output(),
        },
        [
            "stream.value -> flaky.value",
            "stream.value -> use.value",
            "flaky.error -> use.value",
            "use.value -> out.value",
        ],
    )
    failed = run(graph)
    error = NodeExecution.objects.filter(run=failed.pk, node_id=graph.nodes["flaky"]).values_list("error", flat=True)[0]
    assert outputs(failed) == {"out": ["streamed", error] * 2}
    folder.mkdir()
    done = again(failed)
    assert outputs(done) == {"out": ["streamed"] * 2}
    assert (turns(log), turns(folder / "log")) == (4, 2)


def test_a_static_value_that_only_an_error_met_waits_again(
    owner: User, run: Run, again: Again, log: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    places = [str(log), str(folder / "log")]
    graph = draw(
        owner,
        {
            "places": ("StepThroughItems", {"items": places}),
            "call": ("ProbeKeyed", {"value": "done"}),
            "pair": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "places.item => pair.values_#_place",
            "places.item -> call.log",
            "call.value -> pair.values_#_what",
            "call.error -> pair.values_#_what",
            "pair.dictionary -> out.value",
        ],
    )
    failed = run(graph)
    assert [pair["place"] for pair in outputs(failed)["out"]] == places
    folder.mkdir()
    assert outputs(again(failed)) == {"out": [{"place": place, "what": "done"} for place in places]}


def test_what_an_input_node_gives_at_first_is_no_answer_to_an_error(
    owner: User, run: Run, again: Again, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "flaky": ("ProbeKeyed", {"value": "done", "log": str(folder / "log")}),
            "in": ("AgentInput", {"name": "x"}),
            "out": output(),
        },
        ["flaky.value -> in.value", "flaky.error -> in.value", "in.result -> out.value"],
    )
    failed = run(graph, x="first")
    assert [value == "first" for value in outputs(failed)["out"]] == [True, False]
    folder.mkdir()
    assert outputs(again(failed)) == {"out": ["first", "done"]}


def test_outputs_given_before_the_failure_are_not_given_again(owner: User, run: Run, again: Again, log: Path) -> None:
    graph = draw(
        owner,
        {
            "items": ("ProbeRead", {"value": "x", "times": 2, "fail": "half way"}),
            "use": ("ProbeKeyed", {"log": str(log)}),
            "out": output(),
        },
        ["items.value -> use.value", "use.value -> out.value"],
    )
    failed = run(graph)
    done = again(failed)
    assert outputs(done) == {"out": ["x", "x"]}
    assert emitted(done, graph, "items") == [("value", "x"), ("value", "x"), ("error", "RuntimeError: half way")]
    assert turns(log) == 2


def test_a_stopped_run_goes_on_where_it_was(
    owner: User, engine: Engine, again: Again, log: Path, hold: Path, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    graph = draw(
        owner,
        {
            "first": ("ProbeKeyed", {"value": 7, "log": str(log)}),
            "stuck": ("ProbeKeyed", {"hold": str(hold), "log": str(held)}),
            "out": output(),
        },
        ["first.value -> stuck.value", "stuck.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(held.exists)
    services.stop_run(run.pk)
    stopped = ended(run.pk)
    assert stopped.status == Status.TERMINATED
    hold.unlink()
    done = again(stopped)
    assert outputs(done) == {"out": [7]}
    assert (turns(log), turns(held)) == (1, 2)


def test_a_run_stopped_at_its_timer_waits_for_the_same_time(owner: User, engine: Engine) -> None:
    graph = draw(owner, {"timer": ("CountdownTimer", {"hours": 5})})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    parked = eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.WAITING).first())
    services.stop_run(run.pk)
    fresh = retry_run(run.pk, ring=False)
    engine.ring([fresh.pk])
    waiting = eventually(lambda: GraphExecution.objects.filter(pk=fresh.pk, status=Status.WAITING).first())
    assert waiting.wake_at == parked.wake_at
    assert NodeExecution.objects.get(run=fresh.pk).waits == NodeExecution.objects.get(run=run.pk).waits


def test_the_attempts_of_a_node_begin_anew(owner: User, run: Run, again: Again, log: Path) -> None:
    graph = draw(owner, {"call": ("ProbeRead", {"log": str(log), "fail": "not yet"})})
    Node.objects.filter(pk=graph.nodes["call"]).update(metadata={"retry": {"attempts": 2, "seconds": 0}})
    failed = run(graph)
    assert turns(log) == 2
    done = again(failed)
    assert (turns(log), done.node_error_count) == (4, 1)
    assert NodeExecution.objects.get(run=done.pk).attempt == 2


def test_a_run_stopped_before_it_began_begins(owner: User, engine: Engine, again: Again) -> None:
    graph = draw(owner, {"one": ("StoreValue", {"input": 1}), "out": output()}, ["one.output -> out.value"])
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    done = again(services.stop_run(run.pk))
    assert outputs(done) == {"out": [1]}
    assert kinds(done)[:2] == ["run.queued", "run.started"]


def test_a_run_out_of_budget_goes_on_with_a_new_one(owner: User, engine: Engine, again: Again, log: Path) -> None:
    graph = draw(
        owner,
        {
            "items": ("StepThroughItems", {"items": [1, 2, 3]}),
            "call": ("ProbeKeyed", {"log": str(log)}),
            "out": output(),
        },
        ["items.item -> call.value", "call.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, node_budget=5, ring=False)
    engine.ring([run.pk])
    over = ended(run.pk)
    assert (over.status, over.error_code) == (Status.FAILED, "node_budget_exceeded")
    done = again(over)
    assert (done.status, outputs(done)) == (Status.COMPLETED, {"out": [1, 2, 3]})


def test_a_finished_child_is_not_called_again(owner: User, run: Run, again: Again, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "n"}),
            "call": calling(child(owner)),
            "flaky": ("ProbeKeyed", {"log": str(folder / "log")}),
            "out": output(),
        },
        ["in.result -> call.n", "call.more -> flaky.value", "flaky.value -> out.value"],
    )
    failed = run(graph, n=3)
    called = GraphExecution.objects.get(parent=failed.pk)
    folder.mkdir()
    done = again(failed)
    assert outputs(done) == {"out": [4.0]}
    taken = NodeExecution.objects.get(run=done.pk, node_id=graph.nodes["call"])
    assert [wait["child"] for wait in taken.waits] == [str(called.pk)]
    assert not GraphExecution.objects.filter(parent=done.pk).exists()


def test_a_child_that_was_stopped_is_called_anew(
    owner: User, engine: Engine, again: Again, hold: Path, log: Path
) -> None:
    inner = draw(
        owner,
        {"call": ("ProbeKeyed", {"value": 5, "hold": str(hold), "log": str(log)}), "out": output("more")},
        ["call.value -> out.value"],
        name="inner",
    )
    graph = draw(owner, {"call": calling(inner), "out": output()}, ["call.more -> out.value"])
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(log.exists)
    services.stop_run(GraphExecution.objects.get(parent=run.pk).pk)
    failed = ended(run.pk)
    assert (failed.status, failed.node_error_count) == (Status.COMPLETED, 1)
    hold.unlink()
    done = again(failed)
    assert (outputs(done), turns(log)) == ({"out": [5]}, 2)
    assert GraphExecution.objects.get(parent=done.pk).status == Status.COMPLETED


@pytest.mark.parametrize("seed", [1, 4, 18, 19])
def test_after_a_retry_of_any_graph_no_error_is_left_and_no_value_lost(
    owner: User, run: Run, again: Again, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    there, later = tmp_path / "there", tmp_path / "later"
    there.mkdir()
    logs = [str(dice.choice([there, there, later]) / str(n)) for n in range(4)]
    nodes: dict[str, tuple[str, dict[str, Any]]] = {"logs": ("StepThroughItems", {"items": [str(later / "0"), *logs]})}
    links = []
    for name in ("call0", "call1", "call2"):
        nodes[name] = (
            dice.choice(["ProbeKeyed", "ProbeRead", "ProbePure", "ProbeThread"]),
            {"times": dice.randint(1, 2)},
        )
        links += [f"logs.item -> {name}.log", f"logs.item -> {name}.value", f"{name}.value -> out.value"]
        links += [f"{name}.error -> out.value"] * (dice.random() < 0.7)
    gives = [f"{name}.value" for name in list(nodes)[1:]]
    for name in ("pair0", "pair1", "pair2"):
        nodes[name] = ("CreateDictionary", {})
        for place, source in enumerate(dice.sample(gives, 2)):
            links.append(f"{source} -> {name}.values_#_{place}")
            if source.endswith("value"):
                links.append(f"{source.split('.')[0]}.error -> {name}.values_#_{place}")
        links += [f"logs.item => {name}.values_#_log"] * (dice.random() < 0.5)
        gives.append(f"{name}.dictionary")
    nodes["out"] = output()
    graph = draw(owner, nodes, [*links, *(f"{give} -> out.value" for give in gives[3:])])
    failed = run(graph)
    later.mkdir()
    given, expected = (outputs(each)["out"] for each in (again(failed), run(graph)))
    assert failed.node_error_count > 0
    assert "Error" not in str(given)
    assert sorted(value for value in given if isinstance(value, str)) == sorted(
        value for value in expected if isinstance(value, str)
    )
