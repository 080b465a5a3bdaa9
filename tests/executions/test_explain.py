"""What a run is said to wait for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.errors import NoSuchRun
from executions.explain import lasting, of_queue, of_wait, why
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import Verdict, ask_review, decide
from graphs.blocks.base import AskForReview
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Run, eventually
from tests.executions.test_engine import calling, output

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def begin(owner: User, engine: Engine, graph: Drawn, status: Status) -> GraphExecution:
    """A run that stands at `status` with a node under way."""
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=status, nodes__ended_at=None).first())
    eventually(lambda: NodeExecution.objects.filter(run=run.pk, ended_at=None).exists())
    return run


def test_a_queued_run_says_since_when_and_that_no_worker_is_there(user: User) -> None:
    run = make.a_run(user, make.a_graph(user).graph_id)
    [sentence] = why(run.pk).sentences
    assert sentence.startswith("Queued since 20")
    assert sentence.endswith("no worker took it yet, and none holds any run; is one started?")


@pytest.mark.parametrize(
    ("workers", "was_driven", "end"),
    [
        ([64, 70], False, "all 2 workers that hold runs are full, with 64 each."),
        ([64, 3], False, "no worker took it yet."),
        ([3], True, "no worker took it up again yet."),
    ],
)
def test_a_queued_run_says_whether_the_workers_are_full(workers: list[int], was_driven: bool, end: str) -> None:
    assert of_queue(was_driven=was_driven, runs_of_workers=workers) == end


def test_a_wait_says_until_when_and_why() -> None:
    until = (NOW + timedelta(hours=3)).isoformat()
    assert of_wait("Node X", {"until": until}, 1, NOW, []) == (
        "Node X waits for its timer until 2030-01-02T06:04:05Z (in 3 h)."
    )
    assert of_wait("Node X", {"until": until, "retry": "busy"}, 2, NOW, []) == (
        "Node X is tried again at 2030-01-02T06:04:05Z (in 3 h), attempt 3, after: busy"
    )
    assert of_wait("Node X", {"child": "c"}, 1, NOW, ["It sleeps."]) == (
        "Node X waits for the run c that it called, which itself: It sleeps."
    )
    assert of_wait("Node X", {"credits": 2_000_000, "funded": True}, 1, NOW, []) == (
        "Node X is paid for, and runs as soon as others of its run have made room."
    )


def test_a_run_that_waits_for_a_person_says_since_when_and_what_about(user: User) -> None:
    graph = draw(user, {"ask": ("HumanInTheLoop", {"data": 1, "name": "Payment"})})
    run = make.a_run(user, graph.id, status=Status.REVIEW)
    node = make.an_activation(run, graph.nodes["ask"], "HumanInTheLoop", status=NodeStatus.REVIEW, ended_at=None)
    ask = AskForReview(1, "Payment")
    about: dict[str, Any] = {"run_id": run.pk, "user_id": user.pk, "graph_id": graph.id, "graph_version": 1}
    ask_review(**about, node_id=node.node_id, node_execution_id=node.pk, turn=0, ask=ask)
    Review.objects.update(created_at=timezone.now() - timedelta(days=21))
    [sentence] = why(run.pk).sentences
    name = f"Node HumanInTheLoopBlock “Payment” {node.node_id}"
    assert sentence.startswith(f"{name} waits since 20")
    assert sentence.endswith(f"Z (21 d) for a person to decide about “Payment”, as {node.pk}.")
    GraphExecution.objects.update(status=Status.RUNNING, lease_until=timezone.now() + timedelta(minutes=1))
    decide(user.pk, [Verdict(node.pk, approved=True)])
    assert why(run.pk).sentences == [
        f"{name} asked a person, who has decided: it goes on as soon as a worker takes it up."
    ]


def test_lengths_of_time_are_told_in_their_largest_unit() -> None:
    seconds = [-1, 12, 119, 120, 7200, 172_800]
    assert [lasting(timedelta(seconds=s)) for s in seconds] == ["0 s", "12 s", "119 s", "2 min", "2 h", "2 d"]


def test_a_parked_run_names_its_timer_also_through_the_run_that_called_it(owner: User, engine: Engine) -> None:
    inner = draw(owner, {"timer": ("CountdownTimer", {"hours": 5})}, name="inner")
    graph = draw(owner, {"call": calling(inner), "out": output()}, ["call.more -> out.value"])
    run = begin(owner, engine, graph, Status.WAITING)
    child = eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.WAITING).first())
    reasons = why(run.pk)
    timer = NodeExecution.objects.get(run=child.pk)
    assert reasons.status == Status.WAITING
    [sentence] = reasons.sentences
    assert sentence.startswith(
        f"Node AgentExecutorBlock {graph.nodes['call']} waits for the run {child.pk} that it called, which itself: "
        f"Node CountdownTimerBlock {timer.node_id} waits for its timer until "
    )
    assert sentence.endswith("(in 5 h).")
    services.stop_run(run.pk)


def test_a_node_under_way_says_for_how_long_and_where(owner: User, engine: Engine, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    graph = draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold)})})
    run = begin(owner, engine, graph, Status.RUNNING)
    [sentence] = why(run.pk).sentences
    assert sentence.startswith(
        f"Node ProbeRead {graph.nodes['stuck']} is running for 0 s, attempt 1, on worker {engine.owner}"
    )
    hold.unlink()


def test_a_run_whose_worker_fell_silent_says_so(user: User) -> None:
    past = timezone.now() - timedelta(seconds=40)
    run = make.a_run(
        user, make.a_graph(user).graph_id, status=Status.RUNNING, lease_owner="w1", lease_until=past, started_at=past
    )
    assert why(run.pk).sentences == [
        "The worker w1 fell silent: its lease ended 40 s ago, and another takes the run over."
    ]


def test_an_ended_run_names_the_pins_that_got_nothing(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "one": ("StoreValue", {"input": 1}),
            "never": ("Condition", {"operator": "==", "value1": 1, "value2": 2}),
            "sum": ("Calculator", {"operation": "Add"}),
            "out": output(),
        },
        ["one.output -> sum.a", "never.yes_output -> sum.b", "sum.result -> out.value"],
    )
    ended = run(graph)
    reasons = why(ended.pk)
    assert reasons.stalled == [{"node_id": str(graph.nodes["sum"]), "missing": ["b"]}]
    assert reasons.sentences[1:] == [
        f"Node CalculatorBlock {graph.nodes['sum']} holds values but never ran on them: no value came to b.",
        f"Node AgentOutputBlock “out” {graph.nodes['out']} never ran: no value reached it.",
    ]
    assert reasons.sentences[0].startswith("It ended as COMPLETED at 20")


def test_an_ended_run_names_the_nodes_that_failed(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"bad": ("FillTextTemplate", {"format": "{{ a", "values": {"a": 1}}), "out": output()},
        ["bad.output -> out.value"],
    )
    end, failed, never = why(run(graph).pk).sentences
    assert end.startswith("It ended as COMPLETED at 20")
    assert failed.startswith(
        f"Node FillTextTemplateBlock {graph.nodes['bad']} failed: template: line 1: unexpected end"
    )
    assert never == f"Node AgentOutputBlock “out” {graph.nodes['out']} never ran: no value reached it."


def test_why_is_answered_over_http_and_on_the_command_line(
    api: APIClient, stranger: APIClient, user: User, client_of: Callable[[User], APIClient]
) -> None:
    graph = make.a_graph(user)
    run = make.a_run(user, graph.graph_id)
    address = f"/api/graphs/{graph.graph_id}/executions/{run.pk}/why"
    answer = api.get(address)
    assert (answer.status_code, set(answer.json())) == (200, {"status", "sentences", "stalled"})
    assert (answer.json()["status"], answer.json()["stalled"]) == ("QUEUED", [])
    assert stranger.get(address).status_code == 404
    told = StringIO()
    call_command("why", str(run.pk), stdout=told)
    assert told.getvalue().splitlines()[0] == "QUEUED"
    assert len(told.getvalue().splitlines()) == 2
    with pytest.raises(CommandError, match="There is no run and no schedule "):
        call_command("why", str(uuid4()))
    with pytest.raises(NoSuchRun):
        why(uuid4())
