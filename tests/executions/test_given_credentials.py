"""Credentials that a run is started with: which nodes get them, and what they cost with them."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution, NodeExecution
from graphs.models import Node
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Charge, ended
from tests.executions.metering.conftest import balance, charges, top_up

Start = Callable[..., Any]
NAME = "post_api_key_credentials"


def placeholder(credentials_id: str) -> dict[str, str]:
    return {"id": credentials_id, "provider": "post", "type": "api_key"}


@pytest.fixture
def person(owner: User, client_of: Callable[..., APIClient]) -> APIClient:
    """The client of whose graphs these are."""
    return client_of(owner)


@pytest.fixture
def start(person: APIClient) -> Start:
    """Asks for a run with the credentials that are called so."""

    def execute(graph: Drawn, **credentials: str) -> Any:
        given = {name: placeholder(credentials_id) for name, credentials_id in credentials.items()}
        path = f"/api/graphs/{graph.id}/execute/1"
        return person.post(path, {"inputs": {}, "credentials_inputs": given}, format="json")

    return execute


def mails(owner: User) -> Drawn:
    """Two nodes that need credentials of one kind, one of them only if there are some."""
    graph = draw(owner, {"one": ("ProbeMail", {"text": "1"}), "two": ("ProbeMail", {"text": "2"})})
    Node.objects.filter(pk=graph.nodes["two"]).update(metadata={"credentials_optional": True})
    return graph


def ids_given(run: GraphExecution) -> list[str]:
    """The ids of the credentials that the nodes of a run, and of what it called, were given."""
    nodes = NodeExecution.objects.filter(run__in=[run.pk, *GraphExecution.objects.filter(root_id=run.pk)])
    return [node.input_data["credentials"]["id"] for node in nodes if "credentials" in (node.input_data or {})]


def done(engine: Engine, answer: Any) -> GraphExecution:
    assert answer.status_code == 200, answer.json()
    run = GraphExecution.objects.get(pk=answer.json()["id"])
    engine.ring([run.pk])
    return ended(run.pk)


def test_credentials_go_to_each_node_that_takes_such(
    owner: User, engine: Engine, person: APIClient, start: Start
) -> None:
    graph = mails(owner)
    assert list(person.get(f"/api/graphs/{graph.id}").json()["credentials_input_schema"]["properties"]) == [NAME]
    refused = start(graph, others="mine")
    assert refused.json()["detail"]["node_errors"] == {
        str(graph.nodes["one"]): {"credentials": "These credentials are required"}
    }
    assert not GraphExecution.objects.exists()

    run = done(engine, start(graph, **{NAME: "mine"}))
    assert (run.status, run.nodes_to_skip, ids_given(run)) == ("COMPLETED", [], ["mine", "mine"])
    assert run.nodes_input_masks == {str(pk): {"credentials": {**placeholder("mine")}} for pk in graph.nodes.values()}
    # What is said of a single node counts more.
    one = {str(graph.nodes["one"]): {"credentials": placeholder("special"), "text": "0"}}
    run = services.start_run(
        graph.id, 1, user_id=owner.pk, inputs={}, credential_inputs={NAME: placeholder("mine")}, nodes_input_masks=one
    )
    engine.ring([run.pk])
    assert sorted(ids_given(ended(run.pk))) == ["mine", "special"]


def test_a_graph_that_is_called_is_given_the_same_credentials(owner: User, engine: Engine, start: Start) -> None:
    called = mails(owner)
    caller = draw(owner, {"mail": ("ProbeMail", {"text": "0"}), "call": make.an_agent(str(called.id))})
    run = done(engine, start(caller, **{NAME: "mine"}))
    assert (run.status, ids_given(run)) == ("COMPLETED", ["mine"] * 3)


def test_a_price_for_the_platforms_credentials_is_not_paid_with_ones_own(
    owner: User, engine: Engine, person: APIClient, start: Start, price: Charge, settings: Settings
) -> None:
    settings.CREDITS = "paid"
    price("ProbeMail", 3, match={"credentials": {"id": "platform"}})
    top_up(owner, 10)
    graph = draw(owner, {"mail": ("ProbeMail", {"text": "1"})})
    told = person.post(f"/api/graphs/{graph.id}/estimate", {}, format="json").json()
    assert (told["p50"], told["worst"]) == (3, 3)

    assert charges(done(engine, start(graph, **{NAME: "mine"}))) == []
    first = done(engine, start(graph, **{NAME: "platform"}))
    assert charges(first) == [("ProbeMail", 3.0)]
    body = {"node_id": str(graph.nodes["mail"])}
    again = done(engine, person.post(f"/api/graphs/{graph.id}/executions/{first.pk}/replay", body, format="json"))
    assert (charges(again), balance(owner)) == ([("ProbeMail", 3.0)], 4)
    # Credentials that the drawing names are known before.
    own = draw(owner, {"mail": ("ProbeMail", {"text": "1", "credentials": placeholder("mine")})})
    assert person.post(f"/api/graphs/{own.id}/estimate", {}, format="json").json()["p50"] == 0
