"""Runs that wait for people, on a real engine."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from accounts.models import User
from executions import services
from executions.again import replay_run, retry_run
from executions.engine.engine import Engine
from executions.kinds import NodeStatus, ReviewStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import APPROVED_BEFORE, Verdict, decide
from graphs.models import Graph
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import kinds, output, outputs
from tests.invariants import violations
from tests.workers import ROOT, environment

Start = Callable[..., GraphExecution]

ASKED = ["ask.approved_data -> yes.value", "ask.rejected_data -> no.value", "ask.review_message -> said.value"]


@pytest.fixture
def start(owner: User, engine: Engine) -> Start:
    """Start a run of a graph on the engine."""

    def start_run(graph: Drawn, **inputs: Any) -> GraphExecution:
        run = services.start_run(graph.id, graph.version, user_id=owner.pk, inputs=inputs, ring=False)
        engine.ring([run.pk])
        return run

    return start_run


def asking(owner: User, **constants: Any) -> Drawn:
    """A graph that asks about a value and gives away what was decided."""
    data = {"data": {"amount": 10}, "name": "Payment", **constants}
    nodes = {"ask": ("HumanInTheLoop", data), "yes": output("yes"), "no": output("no"), "said": output("said")}
    return draw(owner, nodes, ASKED)


def parked(run: GraphExecution, reviews: int = 1, *, timeout: float = 10) -> list[Review]:
    """The reviews that the run waits for, once it is parked on so many, in the order of their turns."""
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.REVIEW).exists(), timeout)
    waiting = list(Review.objects.waiting().filter(run=run).order_by("node_execution__ordinal", "turn"))
    assert len(waiting) == reviews
    return waiting


def settle(engine: Engine, review: Review, *, approved: bool = True, **more: Any) -> None:
    """Decide, and tell the engine."""
    decide(review.user_id, [Verdict(review.node_execution_id, approved=approved, **more)])
    engine.ring([review.run_id])


def test_an_approved_value_goes_on_as_it_was(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    [review] = parked(run)
    assert (review.payload, review.instructions, review.editable) == ({"amount": 10}, "Payment", True)
    settle(engine, review)
    done = ended(run.pk)
    assert (done.status, outputs(done)) == (Status.COMPLETED, {"yes": [{"amount": 10}]})


def test_a_rejected_value_goes_out_on_its_own_pin_with_the_message(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    settle(engine, *parked(run), approved=False, message="too much")
    done = ended(run.pk)
    assert done.status == Status.COMPLETED
    assert outputs(done) == {"no": [{"amount": 10}], "said": ["too much"]}
    assert done.node_error_count == 0


def test_an_edited_value_goes_on_instead(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    settle(engine, *parked(run), data={"amount": 5})
    assert outputs(ended(run.pk)) == {"yes": [{"amount": 5}]}


def test_without_safe_mode_nobody_is_asked(owner: User, start: Start) -> None:
    graph = asking(owner)
    Graph.objects.filter(pk=graph.id).update(human_in_the_loop_safe_mode=False)
    done = ended(start(graph).pk)
    assert outputs(done)["yes"] == [{"amount": 10}]
    assert not Review.objects.exists()


def test_watchers_see_a_run_wait_for_a_person_and_go_on(owner: User, engine: Engine, start: Start) -> None:
    run = start(draw(owner, {"ask": ("HumanInTheLoop", {"data": 1, "name": "One"})}))
    [review] = parked(run)
    so_far = kinds(GraphExecution.objects.get(pk=run.pk))
    assert [kind for kind in so_far if kind != "node.started"] == [
        "run.queued", "run.started", "node.review", "run.review",
    ]  # fmt: skip
    assert NodeExecution.objects.get().status == NodeStatus.REVIEW
    settle(engine, review)
    assert kinds(ended(run.pk))[-3:] == ["run.resumed", "node.completed", "run.completed"]


def loop_of(owner: User, turns: int) -> Drawn:
    """A graph that asks about each number below `turns`."""
    return draw(
        owner,
        {
            "each": ("StepThroughItems", {"items": list(range(turns))}),
            "ask": ("HumanInTheLoop", {"name": "Number"}),
            "yes": output("yes"),
            "said": output("said"),
        },
        ["each.item -> ask.data", "ask.approved_data -> yes.value", "ask.review_message -> said.value"],
    )


def counting(owner: User, turns: int) -> Drawn:
    """A loop: asks about 1, adds one to what was approved, and asks again until `turns`."""
    return draw(
        owner,
        {
            "ask": ("HumanInTheLoop", {"data": 0, "name": "Go on?"}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "more": ("Condition", {"operator": "<", "value2": turns}),
            "first": ("StoreValue", {"input": 0}),
            "out": output("last"),
        },
        [
            "first.output -> ask.data",
            "ask.approved_data -> add.a",
            "add.result -> more.value1",
            "more.yes_output -> ask.data",
            "more.no_output -> out.value",
        ],
    )


def test_a_loop_asks_at_every_turn(owner: User, engine: Engine, start: Start) -> None:
    run = start(counting(owner, 3))
    for turn in range(3):
        asked = Review.objects.waiting().filter(run=run, payload=turn)
        settle(engine, eventually(asked.all().first))
    assert outputs(ended(run.pk)) == {"last": [3.0]}


def test_approving_the_rest_ends_the_questions_of_a_loop(owner: User, engine: Engine, start: Start) -> None:
    run = start(counting(owner, 5))
    settle(engine, *parked(run), approves_rest=True)
    assert outputs(ended(run.pk)) == {"last": [5.0]}
    messages = Review.objects.filter(run=run).order_by("created_at").values_list("status", "message")
    assert list(messages) == [("APPROVED", ""), *[("APPROVED", APPROVED_BEFORE)] * 4]
    again = start(counting(owner, 5))
    parked(again)


def test_what_was_approved_for_the_rest_holds_in_the_next_called_run(owner: User, engine: Engine, start: Start) -> None:
    inner = asking(owner)
    block, constants = make.an_agent(str(inner.id), inputs=["n"], outputs=["yes"])
    calls = {"one": (block, {**constants, "n": 1}), "two": (block, constants)}
    run = start(draw(owner, {**calls, "out": output()}, ["one.yes -> two.n", "two.yes -> out.value"]))
    child = eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.REVIEW).first())
    settle(engine, *parked(child), approves_rest=True)
    assert outputs(ended(run.pk)) == {"out": [{"amount": 10}]}
    assert GraphExecution.objects.filter(parent=run.pk).count() == 2


def test_a_decision_for_the_rest_is_taken_up_by_a_worker_that_never_let_go(
    owner: User, engine: Engine, start: Start, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    graph = draw(
        owner,
        {
            "ask": ("HumanInTheLoop", {"name": "Number"}),
            "first": ("StoreValue", {"input": 1}),
            "slow": ("ProbeRead", {"hold": str(hold), "value": 2}),
            "yes": output("yes"),
        },
        ["first.output -> ask.data", "slow.value -> ask.data", "ask.approved_data -> yes.value"],
    )
    run = start(graph)
    review = eventually(lambda: Review.objects.waiting().filter(run=run).first())
    settle(engine, review, approves_rest=True)
    eventually(lambda: outputs(run) == {"yes": [1]})
    hold.unlink()
    done = ended(run.pk)
    assert (outputs(done), done.fence) == ({"yes": [1, 2]}, 1)


def test_two_questions_wait_side_by_side_and_each_goes_on_when_it_is_decided(
    owner: User, engine: Engine, start: Start
) -> None:
    run = start(loop_of(owner, 2))
    first, second = parked(run, reviews=2)
    settle(engine, second, message="second")
    eventually(lambda: NodeExecution.objects.filter(pk=second.node_execution_id, ended_at__isnull=False).exists())
    assert parked(run) == [first]
    assert outputs(GraphExecution.objects.get(pk=run.pk)) == {}
    settle(engine, first, message="first")
    assert outputs(ended(run.pk)) == {"yes": [0, 1], "said": ["first", "second"]}


def test_two_questions_decided_together_are_one_wake_up(owner: User, engine: Engine, start: Start) -> None:
    run = start(loop_of(owner, 2))
    reviews = parked(run, reviews=2)
    decide(owner.pk, [Verdict(review.node_execution_id, approved=True) for review in reviews])
    engine.ring([run.pk])
    done = ended(run.pk)
    assert (outputs(done), done.wakes) == ({"yes": [0, 1]}, 1)


def test_a_decision_is_taken_up_while_other_branches_run(
    owner: User, engine: Engine, start: Start, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    graph = draw(
        owner,
        {
            "slow": ("ProbeRead", {"hold": str(hold)}),
            "ask": ("HumanInTheLoop", {"data": 1, "name": "One"}),
            "yes": output("yes"),
        },
        ["ask.approved_data -> yes.value"],
    )
    run = start(graph)
    review = eventually(lambda: Review.objects.waiting().filter(run=run).first())
    settle(engine, review)
    eventually(lambda: outputs(run) == {"yes": [1]})
    assert GraphExecution.objects.get(pk=run.pk).status == Status.RUNNING
    hold.unlink()
    ended(run.pk)


def test_a_parked_run_holds_nothing_but_rows(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    parked(run)
    row = GraphExecution.objects.get(pk=run.pk)
    assert (row.lease_until, row.wake_at) == (None, None)
    assert Review.objects.count() == 1
    assert NodeExecution.objects.filter(run=run).count() == 1


def test_another_worker_takes_up_what_was_decided_weeks_later(owner: User, start: Start, engine: Engine) -> None:
    run = start(asking(owner))
    [review] = parked(run)
    Review.objects.update(created_at="2020-01-01T00:00:00Z")
    GraphExecution.objects.filter(pk=run.pk).update(queued_at="2020-01-01T00:00:00Z")
    engine.stop(grace=1)
    other = Engine()
    other.start()
    try:
        settle(other, review)
        assert outputs(ended(run.pk)) == {"yes": [{"amount": 10}]}
    finally:
        other.stop(grace=1)


def test_stopping_a_run_that_waits_for_a_person_ends_it_at_once(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    [review] = parked(run)
    assert services.stop_run(run.pk).status == Status.TERMINATED
    review.refresh_from_db()
    assert (review.status, review.message) == ("REJECTED", "The run was stopped.")
    assert violations([run.pk]) == []


def test_a_called_run_that_waits_for_a_person_lets_its_caller_wait(owner: User, engine: Engine, start: Start) -> None:
    inner = asking(owner)
    call = make.an_agent(str(inner.id), outputs=["yes", "no", "said"])
    run = start(draw(owner, {"call": call, "out": output()}, ["call.yes -> out.value"]))
    child = eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.REVIEW).first())
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.WAITING).exists())
    settle(engine, *parked(child))
    assert outputs(ended(run.pk)) == {"out": [{"amount": 10}]}


def test_a_run_ended_by_its_deadline_leaves_nothing_to_decide(owner: User, engine: Engine) -> None:
    graph = asking(owner)
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, timeout_seconds=1, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)
    assert (done.status, done.error_code) == (Status.FAILED, "deadline_exceeded")
    assert not Review.objects.waiting().exists()


def test_a_decision_that_is_rolled_back_wakes_nobody(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    [review] = parked(run)
    with transaction.atomic():
        settle(engine, review)
        transaction.set_rollback(True)
    row = GraphExecution.objects.get(pk=run.pk)
    assert (row.status, row.wakes) == (Status.REVIEW, 0)
    assert Review.objects.get().status == ReviewStatus.WAITING


# --- Blocks that are sensitive ------------------------------------------------------------------------------------


def printing(owner: User, *, careful: bool = True) -> Drawn:
    """A graph with a sensitive block in it, and whether people are asked before."""
    graph = draw(
        owner,
        {"print": ("PrintToConsole", {"text": "hello"}), "out": output(), "failed": output("failed")},
        ["print.output -> out.value", "print.error -> failed.value"],
    )
    Graph.objects.filter(pk=graph.id).update(sensitive_action_safe_mode=careful)
    return graph


def test_a_sensitive_block_runs_with_what_was_approved(owner: User, engine: Engine, start: Start) -> None:
    run = start(printing(owner))
    [review] = parked(run)
    assert (review.payload, review.node_id) == ({"text": "hello"}, NodeExecution.objects.get().node_id)
    assert "PrintToConsole" in review.instructions
    settle(engine, review, data={"text": "bye"})
    assert outputs(ended(run.pk)) == {"out": ["bye"]}


def test_a_sensitive_block_that_is_rejected_fails_and_never_runs(owner: User, engine: Engine, start: Start) -> None:
    run = start(printing(owner))
    settle(engine, *parked(run), approved=False, message="not today")
    done = ended(run.pk)
    assert (done.status, done.node_error_count) == (Status.COMPLETED, 1)
    [message] = outputs(done)["failed"]
    assert "not today" in message


def test_a_sensitive_block_runs_unasked_unless_the_graph_is_careful(owner: User, start: Start) -> None:
    assert outputs(ended(start(printing(owner, careful=False)).pk)) == {"out": ["hello"]}
    assert not Review.objects.exists()


# --- Going on from an ended run -----------------------------------------------------------------------------------


def test_a_stopped_run_that_is_retried_asks_again(owner: User, engine: Engine, start: Start) -> None:
    run = start(asking(owner))
    parked(run)
    services.stop_run(run.pk)
    again = retry_run(run.pk, ring=False)
    engine.ring([again.pk])
    settle(engine, *parked(again))
    assert outputs(ended(again.pk)) == {"yes": [{"amount": 10}]}


def test_a_sensitive_block_that_was_rejected_is_asked_about_again_by_a_retry(
    owner: User, engine: Engine, start: Start
) -> None:
    run = start(printing(owner))
    settle(engine, *parked(run), approved=False)
    ended(run.pk)
    again = retry_run(run.pk, ring=False)
    engine.ring([again.pk])
    settle(engine, *parked(again))
    assert outputs(ended(again.pk)) == {"out": ["hello"]}


def test_a_decision_taken_before_a_run_failed_holds_when_it_is_retried(
    owner: User, engine: Engine, start: Start, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    graph = draw(
        owner,
        {"ask": ("HumanInTheLoop", {"data": 1, "name": "One"}), "bad": ("ProbePure", {"fail": "x", "log": str(log)})},
        ["ask.approved_data -> bad.value"],
    )
    run = start(graph)
    settle(engine, *parked(run))
    ended(run.pk)
    again = retry_run(run.pk, ring=False)
    engine.ring([again.pk])
    assert ended(again.pk).node_error_count == 1
    assert len(log.read_text().splitlines()) == 2
    assert Review.objects.count() == 1


def test_a_replay_asks_again_and_what_is_taken_over_does_not(owner: User, engine: Engine, start: Start) -> None:
    graph = asking(owner)
    run = start(graph)
    settle(engine, *parked(run))
    ended(run.pk)
    beyond = replay_run(run.pk, graph.nodes["yes"], ring=False)
    engine.ring([beyond.pk])
    assert outputs(ended(beyond.pk)) == {"yes": [{"amount": 10}]}
    from_there = replay_run(run.pk, graph.nodes["ask"], ring=False)
    engine.ring([from_there.pk])
    settle(engine, *parked(from_there), approved=False)
    assert outputs(ended(from_there.pk)) == {"no": [{"amount": 10}]}


# --- Workers that die ---------------------------------------------------------------------------------------------


@pytest.mark.journey
@pytest.mark.parametrize("moment", ["review.after_ask", "park.before_commit", "park.after_commit"])
def test_a_worker_that_dies_between_asking_and_parking_leaves_one_question(owner: User, moment: str) -> None:
    run = services.start_run(asking(owner).id, 1, user_id=owner.pk, inputs={}, ring=False)
    victim = subprocess.run(
        [sys.executable, "-m", "tests.crash.victim"],
        cwd=ROOT,
        env=environment(TASKLOOM_FAILPOINTS=f"{moment}=exit", TASKLOOM_LEASE_SECONDS="1"),
        input=f"drive {run.pk}\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert f"Failpoint {moment}" in victim.stderr
    engine = Engine()
    engine.start()
    try:
        [review] = parked(run, timeout=20)
        settle(engine, review)
        assert outputs(ended(run.pk, 20)) == {"yes": [{"amount": 10}]}
    finally:
        engine.stop(grace=1)
    assert Review.objects.filter(status=ReviewStatus.APPROVED).count() == 1
