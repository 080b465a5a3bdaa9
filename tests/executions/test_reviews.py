"""The rules of asking people and of deciding."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from accounts.models import User
from core.errors import DomainError
from core.ids import uuid7
from core.json import NotStorable
from executions import errors, services
from executions.kinds import NodeStatus, ReviewStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import APPROVED_BEFORE, DecideResult, Verdict, ask_review, decide, decided
from graphs.blocks.base import AskForReview, Decision
from graphs.models import Graph
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.test_engine import calling

PAYLOAD = {"to": "Ada", "amount": 10}


@pytest.fixture
def graph(user: User) -> Drawn:
    """A graph that asks twice."""
    asks = ("HumanInTheLoop", {"data": PAYLOAD, "name": "Payment"})
    return draw(user, {"first": asks, "second": asks})


@pytest.fixture
def parked(user: User, graph: Drawn) -> GraphExecution:
    """A run that waits for people."""
    return make.a_run(user, graph.id, status=Status.REVIEW)


def asking(run: GraphExecution, node_id: UUID, ordinal: int = 0) -> NodeExecution:
    """An activation that waits for a person."""
    return make.an_activation(run, node_id, "HumanInTheLoop", ordinal=ordinal, status=NodeStatus.REVIEW, ended_at=None)


def ask(
    node: NodeExecution, turn: int = 0, data: Any = PAYLOAD, instructions: str = "Payment", *, editable: bool = True
) -> UUID:
    """Ask as the engine does."""
    return ask_review(
        run_id=node.run_id,
        user_id=node.run.user_id,
        graph_id=node.run.graph_id,
        graph_version=node.run.graph_version,
        node_id=node.node_id,
        node_execution_id=node.pk,
        turn=turn,
        ask=AskForReview(data, instructions, editable),
    )


def rows() -> list[list[Any]]:
    """All that a decision could change."""
    return [list(model.objects.order_by("pk").values_list()) for model in (Review, GraphExecution)]


def refused(error: type[DomainError], user: User, *verdicts: Verdict) -> DomainError:
    """The error of a decision that is refused and changes nothing."""
    before = rows()
    with pytest.raises(error) as raised:
        decide(user.pk, verdicts)
    assert rows() == before
    return raised.value


def approve(node: NodeExecution, **more: Any) -> Verdict:
    """An approval."""
    return Verdict(node.pk, approved=True, **more)


def reject(node: NodeExecution, **more: Any) -> Verdict:
    """A rejection."""
    return Verdict(node.pk, approved=False, **more)


# --- Asking -----------------------------------------------------------------------------------------------------


def test_a_question_is_one_row_however_often_it_is_asked(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    first = ask(node, editable=False)
    assert ask(node, data="another", instructions="another") == first
    review = Review.objects.get()
    assert review.pk == first
    assert (review.run_id, review.root_id, review.user_id) == (parked.pk, parked.pk, user.pk)
    assert (review.graph_id, review.graph_version, review.node_id) == (graph.id, 1, graph.nodes["first"])
    assert (review.payload, review.instructions, review.editable) == (PAYLOAD, "Payment", False)
    assert (review.status, review.data, review.message, review.decided_at) == ("WAITING", None, "", None)
    assert decided([first]) == {}


def test_each_turn_of_an_activation_is_a_question_of_its_own(parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    assert ask(node, turn=0) != ask(node, turn=1)
    assert Review.objects.count() == 2


@pytest.mark.parametrize("data", ["a\0b", float("nan"), {"x": "\ud800"}, object()])
def test_what_cannot_be_stored_cannot_be_asked(parked: GraphExecution, graph: Drawn, data: Any) -> None:
    with pytest.raises(NotStorable):
        ask(asking(parked, graph.nodes["first"]), data=data)
    assert not Review.objects.exists()


def test_null_can_be_asked_and_approved(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    asked = ask(node, data=None)
    decide(user.pk, [approve(node)])
    assert decided([asked]) == {asked: Decision(approved=True, data=None, message="")}


def test_a_run_that_is_gone_asks_nothing(parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    Graph.objects.filter(pk=graph.id).delete()
    with pytest.raises(errors.NoSuchRun):
        ask(node)
    assert not Review.objects.exists()


# --- Deciding ---------------------------------------------------------------------------------------------------


def test_an_approval_queues_the_parked_run_with_the_data_as_it_was(
    user: User, parked: GraphExecution, graph: Drawn
) -> None:
    node = asking(parked, graph.nodes["first"])
    asked = ask(node)
    assert decide(user.pk, [approve(node, message="fine")]) == DecideResult(1, 0)
    assert decided([asked, uuid7()]) == {asked: Decision(approved=True, data=PAYLOAD, message="fine")}
    review = Review.objects.get()
    assert (review.status, review.data, review.approves_rest) == ("APPROVED", None, False)
    assert review.decided_at is not None
    parked.refresh_from_db()
    assert (parked.status, parked.wakes) == (Status.QUEUED, 1)


def test_a_rejection_queues_the_run_too(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    asked = ask(node)
    assert decide(user.pk, [reject(node, message="no")]) == DecideResult(0, 1)
    assert decided([asked]) == {asked: Decision(approved=False, data=PAYLOAD, message="no")}
    parked.refresh_from_db()
    assert parked.status == Status.QUEUED


def test_edited_data_goes_on_instead(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    asked = ask(node)
    decide(user.pk, [approve(node, data={"to": "Ada", "amount": 5})])
    assert decided([asked])[asked].data == {"to": "Ada", "amount": 5}
    assert Review.objects.get().payload == PAYLOAD


def test_data_that_comes_back_as_it_was_is_no_edit(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node, editable=False, data={"a": 1.0, "b": [True]})
    decide(user.pk, [approve(node, data={"b": [True], "a": 1})])
    assert Review.objects.get().data is None


def test_true_instead_of_one_is_an_edit(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node, data=[1])
    decide(user.pk, [approve(node, data=[True])])
    assert Review.objects.get().data == [True]


def test_several_are_decided_together(user: User, parked: GraphExecution, graph: Drawn) -> None:
    first, second = asking(parked, graph.nodes["first"]), asking(parked, graph.nodes["second"])
    ask(first), ask(second)
    assert decide(user.pk, [approve(first), reject(second)]) == DecideResult(1, 1)
    assert sorted(Review.objects.values_list("status", flat=True)) == ["APPROVED", "REJECTED"]
    parked.refresh_from_db()
    assert parked.status == Status.QUEUED


def test_the_run_goes_on_although_another_review_still_waits(user: User, parked: GraphExecution, graph: Drawn) -> None:
    first, second = asking(parked, graph.nodes["first"]), asking(parked, graph.nodes["second"])
    ask(first), ask(second)
    decide(user.pk, [approve(first)])
    parked.refresh_from_db()
    assert parked.status == Status.QUEUED
    assert decide(user.pk, [approve(second)]) == DecideResult(1, 0)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.WAITING])
def test_a_review_can_be_decided_while_other_branches_are_at_work(user: User, graph: Drawn, status: Status) -> None:
    run = make.a_run(user, graph.id, status=status)
    node = asking(run, graph.nodes["first"])
    asked = ask(node)
    decide(user.pk, [approve(node)])
    assert decided([asked])
    run.refresh_from_db()
    assert (run.status, run.wakes) == (Status.RUNNING if status is Status.RUNNING else Status.QUEUED, 1)


def test_the_same_decision_again_changes_nothing(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    verdict = approve(node, data={"to": "Bo"}, message="fine")
    decide(user.pk, [verdict])
    before = rows()
    assert decide(user.pk, [verdict]) == DecideResult(1, 0)
    assert decide(user.pk, [approve(node)]) == DecideResult(1, 0)
    assert rows() == before
    GraphExecution.objects.filter(pk=parked.pk).update(status=Status.COMPLETED, ended_at="2026-01-01T00:00:00Z")
    assert decide(user.pk, [verdict]) == DecideResult(1, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"approved": False},
        {"approved": True, "data": {"to": "Cy"}},
        {"approved": True, "message": "well"},
        {"approved": True, "approves_rest": True},
    ],
)
def test_another_decision_than_before_is_refused(
    user: User, parked: GraphExecution, graph: Drawn, other: dict[str, Any]
) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    decide(user.pk, [approve(node, data={"to": "Bo"}, message="fine")])
    error = refused(errors.DecidedOtherwise, user, Verdict(node.pk, **other))
    assert error.data == {"node_exec_id": str(node.pk), "status": "APPROVED"}


def test_a_decision_repeated_beside_a_new_one_is_fine(user: User, parked: GraphExecution, graph: Drawn) -> None:
    first, second = asking(parked, graph.nodes["first"]), asking(parked, graph.nodes["second"])
    ask(first), ask(second)
    decide(user.pk, [approve(first)])
    assert decide(user.pk, [approve(first), approve(second)]) == DecideResult(2, 0)


def test_data_that_is_not_editable_stays_as_it_is(user: User, parked: GraphExecution, graph: Drawn) -> None:
    first, second = asking(parked, graph.nodes["first"]), asking(parked, graph.nodes["second"])
    ask(first), ask(second, editable=False)
    error = refused(errors.NotEditable, user, approve(first), approve(second, data={"to": "Bo"}))
    assert (error.status, error.data) == (400, {"node_exec_id": str(second.pk)})


def test_what_is_unknown_or_anothers_is_not_there(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    unknown = Verdict(uuid7(), approved=True)
    assert refused(errors.NoSuchReview, user, approve(node), unknown).status == 404
    refused(errors.NoSuchReview, make.a_user(), approve(node))
    refused(errors.NoSuchReview, user, approve(node, review_id=uuid7()))
    GraphExecution.objects.update(is_deleted=True)
    refused(errors.NoSuchReview, user, approve(node))


def test_reviews_of_several_runs_are_not_decided_together(user: User, parked: GraphExecution, graph: Drawn) -> None:
    other = make.a_run(user, graph.id, status=Status.REVIEW)
    nodes = [asking(run, graph.nodes["first"]) for run in (parked, other)]
    for node in nodes:
        ask(node)
    error = refused(errors.SeveralRuns, user, *map(approve, nodes))
    assert (error.status, error.data) == (409, {"graph_exec_ids": sorted([str(parked.pk), str(other.pk)])})


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.TERMINATED])
def test_nothing_is_left_to_decide_in_a_run_that_has_ended(user: User, graph: Drawn, status: Status) -> None:
    run = make.a_run(user, graph.id, status=status)
    node = asking(run, graph.nodes["first"])
    ask(node)
    assert refused(errors.NotWaiting, user, approve(node)).status == 409


def test_nothing_is_left_to_decide_where_nobody_waits(user: User, parked: GraphExecution, graph: Drawn) -> None:
    ended = make.an_activation(parked, graph.nodes["first"], "HumanInTheLoop", status=NodeStatus.FAILED)
    ask(ended)
    refused(errors.NotWaiting, user, approve(ended))
    going = asking(parked, graph.nodes["second"])
    ask(going)
    GraphExecution.objects.filter(pk=parked.pk).request_cancel()
    refused(errors.NotWaiting, user, approve(going))


def test_no_decision_and_one_twice_are_refused(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    assert refused(errors.DecisionInvalid, user).status == 422
    error = refused(errors.DecisionInvalid, user, approve(node), approve(node))
    assert (error.status, error.data) == (422, {"node_exec_id": str(node.pk)})


def nested(levels: int) -> Any:
    """An empty list within lists."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("allowed", "beyond"),
    [
        ({"data": nested(10)}, {"data": nested(11)}),
        ({"data": {"a": nested(9)}}, {"data": {"a": nested(10)}}),
        ({"data": "x" * (1024 * 1024 - 2)}, {"data": "x" * (1024 * 1024 - 1)}),
        ({"message": "é" * 2000}, {"message": "é" * 2001}),
    ],
    ids=["lists", "objects", "bytes", "message"],
)
def test_what_a_person_says_has_limits(
    user: User, parked: GraphExecution, graph: Drawn, allowed: dict[str, Any], beyond: dict[str, Any]
) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    assert refused(errors.DecisionInvalid, user, approve(node, **beyond)).status == 422
    decide(user.pk, [approve(node, **allowed)])
    assert Review.objects.get().status == ReviewStatus.APPROVED


def test_the_newest_question_is_meant_unless_one_is_named(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    old, new = ask(node, turn=0), ask(node, turn=1)
    decide(user.pk, [approve(node)])
    assert decided([old, new]).keys() == {new}
    decide(user.pk, [reject(node, review_id=old)])
    assert {key: decision.approved for key, decision in decided([old, new]).items()} == {old: False, new: True}


def test_of_many_decisions_at_once_one_counts(owner: User) -> None:
    graph = draw(owner, {"ask": ("HumanInTheLoop", {"data": 1, "name": "One"})})
    run = make.a_run(owner, graph.id, status=Status.REVIEW)
    node = asking(run, graph.nodes["ask"])
    ask(node)

    def settle(number: int) -> bool | None:
        try:
            decide(owner.pk, [Verdict(node.pk, approved=number % 2 == 0)])
        except errors.DecidedOtherwise:
            return None
        else:
            return number % 2 == 0
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(settle, range(40)))
    review = Review.objects.get()
    assert Counter(answers) == {review.status == ReviewStatus.APPROVED: 20, None: 20}
    run.refresh_from_db()
    assert run.wakes == 1


# --- For the rest of the run --------------------------------------------------------------------------------------


def test_an_approval_for_the_rest_answers_the_same_node_and_no_other(
    user: User, parked: GraphExecution, graph: Drawn
) -> None:
    first = asking(parked, graph.nodes["first"])
    waiting = asking(parked, graph.nodes["first"], ordinal=1)
    ask(first)
    still_waits = ask(waiting)
    decide(user.pk, [approve(first, approves_rest=True)])
    later = ask(asking(parked, graph.nodes["first"], ordinal=2), data="later")
    other = ask(asking(parked, graph.nodes["second"]))
    assert decided([later, other, still_waits]) == {
        later: Decision(approved=True, data="later", message=APPROVED_BEFORE)
    }


def test_an_approval_for_the_rest_holds_in_all_runs_of_the_family_and_in_no_other(user: User, graph: Drawn) -> None:
    outer = draw(user, {"call": calling(graph)})
    root, other = (make.a_run(user, outer.id, status=Status.WAITING) for _ in range(2))
    child, sibling, cousin = (
        make.a_run(user, graph.id, status=Status.REVIEW, parent=parent, root_id=parent.pk, depth=1)
        for parent in (root, root, other)
    )
    node = asking(child, graph.nodes["first"])
    ask(node)
    decide(user.pk, [approve(node, approves_rest=True)])
    assert decided([ask(asking(sibling, graph.nodes["first"]))])
    assert not decided([ask(asking(cousin, graph.nodes["first"]))])
    assert Review.objects.get(node_execution=node).root_id == root.pk


def test_edited_data_is_not_approved_for_the_rest(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    assert refused(errors.EditedForRest, user, approve(node, approves_rest=True, data={"to": "Bo"})).status == 400
    decide(user.pk, [approve(node, approves_rest=True, data=PAYLOAD)])
    assert Review.objects.get().approves_rest is True


def test_a_rejection_holds_for_one_question_only(user: User, parked: GraphExecution, graph: Drawn) -> None:
    node = asking(parked, graph.nodes["first"])
    ask(node)
    decide(user.pk, [reject(node, approves_rest=True)])
    assert Review.objects.get().approves_rest is False
    assert not decided([ask(asking(parked, graph.nodes["first"], ordinal=1))])


# --- Stopping -----------------------------------------------------------------------------------------------------


def waiting_in(runs: Sequence[GraphExecution]) -> list[UUID]:
    """The runs that have open questions."""
    return sorted(Review.objects.waiting().filter(run__in=runs).values_list("run", flat=True))


@pytest.mark.parametrize("status", [Status.REVIEW, Status.RUNNING, Status.QUEUED])
def test_stopping_a_run_rejects_what_waits_in_it_and_in_what_it_called(
    user: User, graph: Drawn, status: Status
) -> None:
    run = make.a_run(user, graph.id, status=status)
    child = make.a_run(user, graph.id, status=Status.REVIEW, parent=run, root_id=run.pk, depth=1)
    other = make.a_run(user, graph.id, status=Status.REVIEW)
    nodes = [asking(each, graph.nodes["first"]) for each in (run, child, other)]
    done = asking(run, graph.nodes["second"])
    for node in (*nodes, done):
        ask(node)
    decide(user.pk, [approve(done)])
    services.stop_run(run.pk)
    closed = Review.objects.filter(node_execution__in=nodes[:2])
    assert list(closed.values_list("status", "message", "decided_at")) == [
        ("REJECTED", "The run was stopped.", None),
        ("REJECTED", "The run was stopped.", None),
    ]
    assert Review.objects.get(node_execution=done).status == "APPROVED"
    assert waiting_in([run, child, other]) == [other.pk]
    assert decided(closed.values_list("pk", flat=True)) == {}
    refused(errors.NotWaiting, user, approve(nodes[0]))
    refused(errors.NotWaiting, user, reject(nodes[0]))


def test_a_question_of_a_worker_that_died_before_it_wrote_who_asks_is_not_shown(
    user: User, parked: GraphExecution, graph: Drawn
) -> None:
    node = asking(parked, graph.nodes["first"])
    lost = NodeExecution(pk=uuid7(), run=parked, node_id=graph.nodes["first"])
    ask(lost), ask(node)
    assert list(Review.objects.waiting().values_list("node_execution", flat=True)) == [node.pk]


# --- What a run begins with ---------------------------------------------------------------------------------------


def test_a_run_keeps_the_safe_modes_its_graph_had_at_the_start(user: User, graph: Drawn) -> None:
    before = services.start_run(graph.id, 1, user_id=user.pk, inputs={})
    Graph.objects.filter(pk=graph.id).update(human_in_the_loop_safe_mode=False, sensitive_action_safe_mode=True)
    after = services.start_run(graph.id, 1, user_id=user.pk, inputs={})
    modes = [
        (run.human_in_the_loop_safe_mode, run.sensitive_action_safe_mode)
        for run in (GraphExecution.objects.get(pk=before.pk), GraphExecution.objects.get(pk=after.pk))
    ]
    assert modes == [(True, False), (False, True)]


def test_a_called_run_has_the_safe_modes_of_its_caller(user: User, graph: Drawn) -> None:
    outer = draw(user, {"call": calling(graph)})
    Graph.objects.filter(pk=outer.id).update(human_in_the_loop_safe_mode=False, sensitive_action_safe_mode=True)
    parent = services.start_run(outer.id, 1, user_id=user.pk, inputs={})
    child = services.start_run(graph.id, 1, user_id=user.pk, inputs={}, parent_id=parent.pk)
    child.refresh_from_db()
    assert (child.human_in_the_loop_safe_mode, child.sensitive_action_safe_mode) == (False, True)
