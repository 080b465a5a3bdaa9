"""Runs that are run again, and the API key that the first of them was started with."""

from collections.abc import Callable
from typing import Any

from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, User
from credits.models import Hold
from executions.again import replay_run
from executions.audit import audit
from executions.engine.engine import Engine
from executions.models import GraphExecution
from tests.drawing import draw
from tests.executions.conftest import Charge
from tests.executions.metering.conftest import balance, charges, top_up
from tests.executions.test_key_budgets import Program, drive


def test_a_retry_counts_in_the_budget_of_the_key_that_began(
    owner: User, engine: Engine, price: Charge, client_of: Callable[..., APIClient], settings: Settings
) -> None:
    settings.CREDITS = "paid"
    price("ProbeRead", 2)
    top_up(owner, 100)
    person = client_of(owner)
    robot = Program(owner, person, 5)
    graph = draw(owner, {"a": ("ProbeRead", {"value": 1})})
    [first] = drive(engine, robot.started(graph))
    assert (first.status, robot.budget()) == ("COMPLETED", (5, 2, 3))

    def again(run: GraphExecution, way: str, **body: str) -> Any:
        return person.post(f"/api/graphs/{graph.id}/executions/{run.pk}/{way}", body, format="json")

    answer = again(first, "replay", node_id=str(graph.nodes["a"]))
    assert answer.status_code == 200, answer.json()
    [second] = drive(engine, GraphExecution.objects.get(pk=answer.json()["id"]))
    assert (second.api_key_id, charges(second), robot.budget()) == (first.api_key_id, [("ProbeRead", 2.0)], (5, 4, 1))
    # One that needs more than is left ends as one of the key's own runs would.
    [third] = drive(engine, replay_run(second.pk, graph.nodes["a"]))
    assert (third.error_code, charges(third), robot.budget()) == ("budget_exceeded", [], (5, 4, 1))
    assert robot.set_budget(4).status_code == 200
    before = GraphExecution.objects.count(), Hold.objects.count()
    refused = again(third, "retry")
    assert (refused.status_code, refused.json()["code"]) == (402, "key_budget_used_up")
    assert (GraphExecution.objects.count(), Hold.objects.count()) == before

    # A key that is gone for good binds nobody: its budget could not be changed.
    keys.revoke(owner, ApiKey.objects.get().pk)
    [fourth] = drive(engine, GraphExecution.objects.get(pk=again(third, "retry").json()["id"]))
    assert (fourth.api_key_id, charges(fourth), robot.budget()) == (first.api_key_id, [("ProbeRead", 2.0)], (4, 4, 0))
    assert (balance(owner), audit().problems) == (94, [])
