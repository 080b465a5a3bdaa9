"""Dry runs: the graph runs through to its end, and the world does not notice."""

from pathlib import Path

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from graphs.models import Node
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended
from tests.executions.test_engine import calling, child, emitted, output, outputs


def dry(graph: Drawn, owner: User, engine: Engine, **inputs: object) -> GraphExecution:
    """A dry run that has ended."""
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs=inputs, dry_run=True, ring=False)
    engine.ring([run.pk])
    return ended(run.pk)


def test_a_block_with_effects_gives_its_example_instead(owner: User, engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    graph = draw(
        owner,
        {"call": ("ProbeKeyed", {"log": str(log), "value": "real", "fail": "at all"}), "out": output()},
        ["call.value -> out.value"],
    )
    done = dry(graph, owner, engine)
    assert (done.status, done.is_dry_run) == (Status.COMPLETED, True)
    assert outputs(done) == {"out": [1, 1]}
    assert not log.exists()


def test_a_block_that_only_computes_runs(owner: User, engine: Engine) -> None:
    graph = draw(
        owner,
        {"in": ("AgentInput", {"name": "n"}), "add": ("Calculator", {"operation": "Add", "b": 1}), "out": output()},
        ["in.result -> add.a", "add.result -> out.value"],
    )
    assert outputs(dry(graph, owner, engine, n=41)) == {"out": [42.0]}


def test_what_a_dry_run_calls_is_dry(owner: User, engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    inner = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "n"}),
            "call": ("ProbeKeyed", {"log": str(log)}),
            "out": output("more"),
        },
        ["in.result -> call.value", "call.value -> out.value"],
    )
    graph = draw(
        owner,
        {"in": ("AgentInput", {"name": "x", "value": 7}), "call": calling(inner), "out": output()},
        ["in.result -> call.n", "call.more -> out.value"],
    )
    done = dry(graph, owner, engine)
    assert outputs(done) == {"out": [1, 1]}
    assert GraphExecution.objects.get(parent=done.pk).is_dry_run
    assert not log.exists()


def test_a_dry_run_does_not_sleep(owner: User, engine: Engine) -> None:
    graph = draw(
        owner,
        {"wait": ("CountdownTimer", {"hours": 5, "output_message": "later"}), "out": output()},
        ["wait.output_message -> out.value"],
    )
    assert outputs(dry(graph, owner, engine)) == {"out": ["timer finished"]}


def test_a_dry_run_asks_nobody(owner: User, engine: Engine) -> None:
    graph = draw(
        owner,
        {"ask": ("HumanInTheLoop", {"data": "draft", "name": "look"}), "out": output()},
        ["ask.approved_data -> out.value"],
    )
    assert outputs(dry(graph, owner, engine)) == {"out": ["draft"]}
    assert not Review.objects.exists()


def test_a_child_outside_of_a_dry_run_is_not_dry(owner: User, engine: Engine) -> None:
    graph = draw(
        owner,
        {"in": ("AgentInput", {"name": "x", "value": 1}), "call": calling(child(owner)), "out": output()},
        ["in.result -> call.n", "call.more -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    assert outputs(ended(run.pk)) == {"out": [2.0]}
    assert not GraphExecution.objects.filter(is_dry_run=True).exists()


def test_a_node_whose_optional_credentials_are_not_given_is_left_out(
    owner: User, engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    graph = draw(
        owner,
        {"send": ("ProbeMail", {"text": "hello", "log": str(log)}), "sent": output("sent"), "out": output()},
        ["send.sent -> sent.value"],
    )
    Node.objects.filter(pk=graph.nodes["send"]).update(metadata={"credentials_optional": True})
    Node.objects.filter(pk=graph.nodes["out"]).update(input_default={**output()[1], "value": "done"})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)
    assert (done.status, outputs(done)) == (Status.COMPLETED, {"out": ["done"]})
    left_out = NodeExecution.objects.get(run=done.pk, node_id=graph.nodes["send"])
    assert (left_out.status, left_out.input_data["text"]) == (NodeStatus.COMPLETED, "hello")
    assert emitted(done, graph, "send") == []
    assert not log.exists()
