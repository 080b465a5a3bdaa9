"""Reviews in the admin site and on the command line."""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Role
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import ask_review
from graphs.blocks.base import AskForReview
from tests import make
from tests.drawing import draw

REVIEWS = "/admin/executions/review/"


@pytest.fixture
def operator(db: None) -> Client:
    """Somebody who may see the admin site."""
    client = Client()
    client.force_login(make.a_user(role=Role.ADMIN))
    return client


def asking(ordinal: int = 0, run: GraphExecution | None = None) -> NodeExecution:
    """An activation that waits for a person, of a run of Ada's."""
    if run is None:
        owner = make.a_user("ada@example.com")
        graph = draw(owner, {"ask": ("HumanInTheLoop", {"data": 1, "name": "Look"})})
        run = make.a_run(owner, graph.id, status=Status.REVIEW)
    node = make.an_activation(run, uuid4(), "HumanInTheLoop", ordinal=ordinal, status=NodeStatus.REVIEW, ended_at=None)
    ask_review(
        run_id=run.pk,
        user_id=run.user_id,
        graph_id=run.graph_id,
        graph_version=1,
        node_id=node.node_id,
        node_execution_id=node.pk,
        turn=0,
        ask=AskForReview({"to": "<b>Ada</b>"}, "Look"),
    )
    return node


def told(*command: str) -> str:
    """What a command prints."""
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue().strip()


def statuses() -> list[str]:
    """Where the reviews stand, oldest first."""
    return list(Review.objects.order_by("created_at", "pk").values_list("status", flat=True))


# --- Admin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["ada@", "run"])
def test_reviews_are_found_by_run_and_email(operator: Client, term: str) -> None:
    node = asking()
    sought = str(node.run_id) if term == "run" else term
    results = operator.get(REVIEWS, {"q": sought}).context["cl"].result_list
    assert [review.node_execution_id for review in results] == [node.pk]
    assert not operator.get(REVIEWS, {"q": str(uuid4())}).context["cl"].result_list


def test_a_review_is_shown_with_what_it_asks(operator: Client) -> None:
    asking()
    page = operator.get(f"{REVIEWS}{Review.objects.get().pk}/change/").content.decode()
    assert "&quot;to&quot;: &quot;&lt;b&gt;Ada&lt;/b&gt;&quot;" in page
    assert "<b>Ada" not in page
    assert 'name="_save"' not in page


@pytest.mark.parametrize(("action", "status"), [("approve", "APPROVED"), ("reject", "REJECTED")])
def test_an_operator_decides_for_whoever_is_asked(operator: Client, action: str, status: str) -> None:
    asking()
    chosen = {"action": action, "_selected_action": [str(Review.objects.get().pk)]}
    page = operator.post(REVIEWS, chosen, follow=True).content.decode()
    assert f"1 reviews are {status.lower()}." in page
    assert statuses() == [status]
    assert GraphExecution.objects.get().status == Status.QUEUED


def test_what_cannot_be_decided_is_told_and_the_rest_is_decided(operator: Client) -> None:
    node = asking()
    asking(1, node.run)
    ids = [str(pk) for pk in Review.objects.values_list("pk", flat=True)]
    operator.post(REVIEWS, {"action": "reject", "_selected_action": ids[:1]})
    page = operator.post(REVIEWS, {"action": "approve", "_selected_action": ids}, follow=True).content.decode()
    assert "Look: The review was decided before, and otherwise." in page
    assert "1 reviews are approved." in page
    assert sorted(statuses()) == ["APPROVED", "REJECTED"]


@pytest.mark.django_db
def test_only_operators_decide_there() -> None:
    asking()
    client = Client()
    client.force_login(make.a_user())
    chosen = {"action": "approve", "_selected_action": [str(Review.objects.get().pk)]}
    assert client.post(REVIEWS, chosen).status_code == 302
    assert statuses() == ["WAITING"]


# --- Commands -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_command_shows_what_waits() -> None:
    node = asking()
    first, second = told("review_run", str(node.run_id)).splitlines()
    assert (first.split()[0], first.split()[-1]) == (str(node.pk), "Look")
    assert json.loads(second) == {"to": "<b>Ada</b>"}


@pytest.mark.django_db
def test_the_command_decides() -> None:
    node = asking()
    other, third = asking(1, node.run), asking(2, node.run)
    run = str(node.run_id)
    assert told("review_run", run, "--approve", str(node.pk), "--data", '{"to": "Bo"}') == "1 approved, 0 rejected"
    decided = told("review_run", run, "--reject", str(other.pk), "--reject", str(third.pk), "--message", "no")
    assert decided == "0 approved, 2 rejected"
    assert told("review_run", run) == "Nothing waits for a person."
    assert list(Review.objects.order_by("created_at").values_list("status", "data", "message")) == [
        ("APPROVED", {"to": "Bo"}, ""),
        ("REJECTED", None, "no"),
        ("REJECTED", None, "no"),
    ]


@pytest.mark.django_db
def test_the_command_refuses_what_cannot_be_and_changes_nothing() -> None:
    node = asking()
    run, ask = str(node.run_id), str(node.pk)
    unknown = str(uuid4())
    for command, message in (
        ((unknown,), f"There is no run {unknown}"),
        ((run, "--approve", unknown), f"Nothing in run {run} asked as {unknown}"),
        ((run, "--approve", ask, "--reject", ask), "The same node_exec_id is decided twice"),
        ((run, "--approve", ask, "--data", "{"), "this is no JSON"),
        ((run, "--approve", ask, "--data", "2", "--rest"), "Edited data cannot be approved together with the rest"),
    ):
        with pytest.raises(CommandError, match=message):
            told("review_run", *command)
        assert statuses() == ["WAITING"]
