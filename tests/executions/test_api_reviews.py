"""Reviews over HTTP."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import ask_review
from graphs.blocks.base import AskForReview
from tests import make
from tests.drawing import Drawn, draw

Parked = Callable[..., list[NodeExecution]]


@pytest.fixture
def graph(user: User) -> Drawn:
    """A graph that asks."""
    return draw(user, {"ask": ("HumanInTheLoop", {"data": 1, "name": "Look"})})


@pytest.fixture
def parked(user: User, graph: Drawn) -> Parked:
    """Makes a run that waits for people to decide about some values."""

    def make_run(*payloads: Any, editable: bool = True) -> list[NodeExecution]:
        run = make.a_run(user, graph.id, status=Status.REVIEW)
        nodes = []
        for ordinal, payload in enumerate(payloads):
            node = make.an_activation(
                run, graph.nodes["ask"], "HumanInTheLoop", ordinal=ordinal, status=NodeStatus.REVIEW, ended_at=None
            )
            ask_review(
                run_id=run.pk,
                user_id=user.pk,
                graph_id=graph.id,
                graph_version=1,
                node_id=node.node_id,
                node_execution_id=node.pk,
                turn=0,
                ask=AskForReview(payload, "Look", editable),
            )
            nodes.append(node)
        return nodes

    return make_run


def act(client: APIClient, *reviews: dict[str, Any]) -> Any:
    """Send decisions."""
    return client.post("/api/review/action", {"reviews": list(reviews)}, format="json")


def undecided() -> bool:
    """Whether nothing has been decided."""
    return (
        not Review.objects.exclude(status="WAITING").exists() and not GraphExecution.objects.exclude(wakes=0).exists()
    )


def test_what_waits_is_shown_whole(api: APIClient, user: User, graph: Drawn, parked: Parked) -> None:
    [node] = parked({"to": "Ada"}, editable=False)
    review = Review.objects.get()
    answer = api.get("/api/review/pending")
    assert (answer.status_code, answer["X-Total-Items"]) == (200, "1")
    [shown] = answer.json()
    assert shown == {
        "review_id": str(review.pk),
        "node_exec_id": str(node.pk),
        "node_id": str(graph.nodes["ask"]),
        "user_id": str(user.pk),
        "graph_exec_id": str(node.run_id),
        "graph_id": str(graph.id),
        "graph_version": 1,
        "payload": {"to": "Ada"},
        "instructions": "Look",
        "editable": False,
        "status": "WAITING",
        "review_message": None,
        "was_edited": None,
        "processed": False,
        "created_at": review.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": None,
        "reviewed_at": None,
        "truncated": False,
    }
    assert api.get(f"/api/review/execution/{node.run_id}").json() == [shown]


def test_all_that_waits_is_listed_newest_first_and_that_of_a_run_oldest_first(api: APIClient, parked: Parked) -> None:
    first, second = parked("a", "b"), parked("c")
    assert [row["payload"] for row in api.get("/api/review/pending").json()] == ["c", "b", "a"]
    answer = api.get("/api/review/pending?page=2&page_size=2")
    assert [row["payload"] for row in answer.json()] == ["a"]
    assert (answer["X-Total-Items"], answer["X-Total-Pages"], answer["X-Current-Page"]) == ("3", "2", "2")
    assert [row["payload"] for row in api.get(f"/api/review/execution/{first[0].run_id}").json()] == ["a", "b"]
    assert [row["payload"] for row in api.get(f"/api/review/execution/{second[0].run_id}").json()] == ["c"]


@pytest.mark.parametrize("query", ["page=0", "page_size=101", "page_size=x"])
def test_a_page_that_cannot_be_is_refused(api: APIClient, query: str) -> None:
    assert api.get(f"/api/review/pending?{query}").status_code == 422


def test_what_is_decided_or_waits_for_nobody_is_not_listed(api: APIClient, parked: Parked) -> None:
    decided, going = parked(1, 2)
    [stopped], [ended], [deleted] = parked(3), parked(4), parked(5)
    assert act(api, {"node_exec_id": str(decided.pk), "approved": True}).status_code == 200
    services.stop_run(stopped.run_id)
    GraphExecution.objects.filter(pk=ended.run_id).update(status=Status.FAILED, ended_at="2026-01-01T00:00:00Z")
    services.delete_run(deleted.run_id)
    assert [row["node_exec_id"] for row in api.get("/api/review/pending").json()] == [str(going.pk)]
    assert api.get(f"/api/review/execution/{ended.run_id}").json() == []


def test_long_payloads_are_shown_whole_up_to_a_budget(
    api: APIClient, parked: Parked, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked("x" * 9_000_000, "y" * 9_000_000, "z")
    shown = api.get("/api/review/pending").json()
    assert [(len(row["payload"]), row["truncated"]) for row in shown[:2]] == [(1, False), (9_000_000, False)]
    assert shown[2]["truncated"] is True
    assert shown[2]["payload"].startswith("xxx")
    assert len(shown[2]["payload"]) < 4000
    assert act(api, {"node_exec_id": shown[2]["node_exec_id"], "approved": True}).status_code == 200


def test_listing_takes_as_many_queries_for_many_as_for_one(api: APIClient, parked: Parked) -> None:
    parked(1)
    with CaptureQueriesContext(connection) as one:
        api.get("/api/review/pending")
    parked(2, 3, 4)
    with CaptureQueriesContext(connection) as many:
        api.get("/api/review/pending")
    assert len(many) == len(one)


def test_a_decision_is_counted_and_queues_the_run(api: APIClient, parked: Parked) -> None:
    first, second = parked({"amount": 10}, "no")
    answer = act(
        api,
        {"node_exec_id": str(first.pk), "approved": True, "message": "half", "reviewed_data": {"amount": 5}},
        {"node_exec_id": str(second.pk), "approved": False},
    )
    assert (answer.status_code, answer.json()) == (
        200,
        {"approved_count": 1, "rejected_count": 1, "failed_count": 0, "error": None},
    )
    approved, rejected = Review.objects.order_by("created_at")
    assert (approved.status, approved.data, approved.message) == ("APPROVED", {"amount": 5}, "half")
    assert (rejected.status, rejected.data, rejected.message) == ("REJECTED", None, "")
    assert GraphExecution.objects.get().status == Status.QUEUED
    assert api.get("/api/review/pending").json() == []


def test_null_where_nothing_is_said_is_fine(api: APIClient, parked: Parked) -> None:
    [node] = parked(1)
    nothing = {"message": None, "reviewed_data": None, "review_id": None}
    assert act(api, {"node_exec_id": str(node.pk), "approved": True, **nothing}).status_code == 200
    assert Review.objects.get().message == ""


def test_the_rest_of_the_run_can_be_approved_too(api: APIClient, parked: Parked) -> None:
    [node] = parked(1)
    assert act(api, {"node_exec_id": str(node.pk), "approved": True, "auto_approve_future": True}).status_code == 200
    assert Review.objects.get().approves_rest is True


@pytest.mark.parametrize(
    ("status", "code", "changes"),
    [
        (404, "no_such_review", {"node_exec_id": str(uuid4())}),
        (404, "no_such_review", {"review_id": str(uuid4())}),
        (400, "not_editable", {"reviewed_data": 2}),
        (422, "request_invalid", {"approved": None}),
        (422, "request_invalid", {"node_exec_id": "none"}),
        (422, "request_invalid", {"message": "x" * 2001}),
        (422, "decision_invalid", {"reviewed_data": [[[[[[[[[[[]]]]]]]]]]]}),
        (422, "decision_invalid", {"reviewed_data": "x" * (1024 * 1024)}),
    ],
)
def test_what_cannot_be_decided_is_refused_and_nothing_changes(
    api: APIClient, parked: Parked, status: int, code: str, changes: dict[str, Any]
) -> None:
    other, node = parked(0, 1, editable=False)
    answer = act(
        api,
        {"node_exec_id": str(other.pk), "approved": True},
        {"node_exec_id": str(node.pk), "approved": True, **changes},
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert undecided()


def test_a_request_names_reviews_of_one_run_each_once(api: APIClient, parked: Parked) -> None:
    [one], [another] = parked(1), parked(2)
    item = {"node_exec_id": str(one.pk), "approved": True}
    for answer, status, code in (
        (act(api), 422, "request_invalid"),
        (api.post("/api/review/action", {}, format="json"), 422, "request_invalid"),
        (act(api, item, item), 422, "decision_invalid"),
        (act(api, item, {**item, "node_exec_id": str(another.pk)}), 409, "several_runs"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert undecided()


def test_an_opposite_decision_and_one_for_an_ended_run_are_refused(api: APIClient, parked: Parked) -> None:
    [one], [another] = parked(1), parked(2)
    approval = {"node_exec_id": str(one.pk), "approved": True}
    assert [act(api, approval).status_code for _ in range(2)] == [200, 200]
    opposite = act(api, {**approval, "approved": False})
    assert (opposite.status_code, opposite.json()["code"]) == (400, "decided_otherwise")
    services.stop_run(another.run_id)
    late = act(api, {"node_exec_id": str(another.pk), "approved": True})
    assert (late.status_code, late.json()["code"]) == (409, "not_waiting")
    statuses: dict[UUID, str] = dict(Review.objects.values_list("node_execution", "status"))
    assert statuses == {one.pk: "APPROVED", another.pk: "REJECTED"}


def test_only_the_owner_sees_and_decides(
    api: APIClient, stranger: APIClient, anonymous: APIClient, parked: Parked
) -> None:
    [node] = parked(1)
    decision = {"node_exec_id": str(node.pk), "approved": True}
    assert anonymous.get("/api/review/pending").status_code == 401
    assert anonymous.get(f"/api/review/execution/{node.run_id}").status_code == 401
    assert act(anonymous, decision).status_code == 401
    assert stranger.get("/api/review/pending").json() == []
    assert stranger.get(f"/api/review/execution/{node.run_id}").status_code == 404
    assert api.get(f"/api/review/execution/{uuid4()}").status_code == 404
    assert act(stranger, decision).status_code == 404
    assert undecided()
    assert act(api, decision).status_code == 200
