"""What all runs that are started with one API key may use together."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import ApiKey, Role, User
from credits.kinds import CREDIT
from credits.models import Hold
from executions import bookkeeping, services
from executions.audit import audit
from executions.engine.engine import Engine
from executions.kinds import NodeStatus, Status
from executions.models import Event, GraphExecution, NodeExecution
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Charge, ended, eventually
from tests.executions.metering.conftest import balance, chain, charges, top_up
from tests.executions.test_engine import output
from tests.executions.test_recovery import take_over

KEYS = "/api/api-keys"


class Program:
    """A program with an API key, and the person whose key it is."""

    def __init__(self, owner: User, person: APIClient, max_credits: int | None) -> None:
        wanted = {"name": "program", "permissions": ["EXECUTE_GRAPH"], "max_credits": max_credits}
        made = person.post(KEYS, wanted, format="json").json()
        self._person = person
        self._text = made["plain_text_key"]
        self.key_id = made["api_key"]["id"]

    def start(self, graph: Drawn, **headers: str) -> Any:
        """The answer to asking for a run."""
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_X_API_KEY=self._text)
        place = f"/external-api/v1/graphs/{graph.id}/execute/{graph.version}"
        return client.post(place, {}, format="json", headers=headers)

    def started(self, graph: Drawn) -> GraphExecution:
        """A run."""
        answer = self.start(graph)
        assert answer.status_code == 200, answer.json()
        return GraphExecution.objects.get(pk=answer.json()["id"])

    def set_budget(self, max_credits: object) -> Any:
        """The answer to asking for another budget."""
        return self._person.put(f"{KEYS}/{self.key_id}/budget", {"max_credits": max_credits}, format="json")

    def budget(self) -> tuple[int | None, float | None, float | None]:
        """What the runs may use, what they have used, and what is left."""
        key = self._person.get(f"{KEYS}/{self.key_id}").json()
        return key["max_credits"], key["credits_used"], key["credits_left"]


@pytest.fixture(autouse=True)
def _balanced(transactional_db: None, settings: Settings) -> Iterator[None]:
    """People pay for what they use; whatever happened, the books are right in the end."""
    settings.CREDITS = "paid"
    yield
    assert audit().problems == []


@pytest.fixture
def program(owner: User, client_of: Callable[..., APIClient]) -> Callable[[int | None], Program]:
    """Makes a program of the owner's, whose runs may use so many credits."""
    return lambda max_credits: Program(owner, client_of(owner), max_credits)


def drive(engine: Engine, *runs: GraphExecution) -> list[GraphExecution]:
    engine.ring([run.pk for run in runs])
    return [ended(run.pk) for run in runs]


def ways(runs: list[GraphExecution]) -> list[tuple[str, str]]:
    return [(run.status, run.error_code) for run in runs]


def test_the_runs_of_a_key_use_no_more_than_its_budget_together(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program]
) -> None:
    price("ProbeRead", 2)
    top_up(owner, 100)
    robot = program(5)
    graph = chain(owner, "ProbeRead", "ProbeRead")
    assert robot.budget() == (5, 0, 5)
    [first] = drive(engine, robot.started(graph))
    assert (first.status, robot.budget()) == ("COMPLETED", (5, 4, 1))
    [second] = drive(engine, robot.started(graph))

    why = "What the run would do next costs more than is left of the max_credits of the API key that started it"
    assert (second.status, second.error_code, second.error) == ("FAILED", "budget_exceeded", why)
    assert (charges(second), robot.budget(), balance(owner)) == ([], (5, 4, 1), 96)
    assert robot.set_budget(7).json()["credits_left"] == 3
    [third] = drive(engine, robot.started(graph))
    assert (third.error_code, charges(third), robot.budget()) == ("budget_exceeded", [("ProbeRead", 2.0)], (7, 6, 1))
    assert robot.set_budget(6).status_code == 200

    before = GraphExecution.objects.count(), Hold.objects.count(), Event.objects.count()
    refused = robot.start(graph)
    assert (refused.status_code, refused.json()["code"]) == (402, "key_budget_used_up")
    assert "max_credits" in refused.json()["message"]
    assert "/budget" in refused.json()["hint"]
    assert (GraphExecution.objects.count(), Hold.objects.count(), Event.objects.count()) == before
    assert (robot.budget(), balance(owner)) == ((6, 6, 0), 94)
    assert robot.set_budget(None).json()["credits_used"] is None
    assert ways(drive(engine, robot.started(graph))) == [("COMPLETED", "")]


def test_twenty_runs_at_once_on_two_workers_charge_just_what_the_budget_allows(
    owner: User, another_engine: Callable[..., Engine], price: Charge, program: Callable[..., Program]
) -> None:
    price("ProbeRead", 1)
    top_up(owner, 100)
    robot, graph = program(7), chain(owner, "ProbeRead")

    def start(_: int) -> Any:
        try:
            return robot.start(graph)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start, range(20)))
    assert {answer.status_code for answer in answers} == {200}
    runs = list(GraphExecution.objects.order_by("pk"))
    engines = [another_engine(), another_engine()]
    for place, run in enumerate(runs):
        engines[place % 2].ring([run.pk])
    done = [ended(run.pk) for run in runs]

    assert len(charges()) == 7
    assert sorted(ways(done)) == [("COMPLETED", "")] * 7 + [("FAILED", "budget_exceeded")] * 13
    assert (robot.budget(), balance(owner)) == ((7, 7, 0), 93)


def test_a_run_keeps_nothing_from_others_of_its_key_but_what_is_under_way(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program], hold: Path
) -> None:
    price("ProbeRead", 3)
    top_up(owner, 100)
    robot = program(6)
    held = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1, "hold": str(hold)}), "b": ("ProbeRead", {"fail": "no"})},
        ["a.value -> b.value"],
    )
    waiting, quick = robot.started(held), robot.started(chain(owner, "ProbeRead"))
    assert robot.budget() == (6, 0, 6)
    engine.ring([waiting.pk])
    eventually(lambda: robot.budget() == (6, 3, 3))
    assert ways(drive(engine, quick)) == [("COMPLETED", "")]
    assert robot.budget() == (6, 6, 0)
    assert robot.start(held).status_code == 402
    services.stop_run(waiting.pk)
    ended(waiting.pk)
    assert robot.budget() == (6, 3, 3)


def test_what_a_run_calls_uses_the_budget_of_its_key(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program], calling: Drawn
) -> None:
    price("ProbeRead", 1)
    price("ProbeKeyed", 2)
    top_up(owner, 50)
    robot = program(9)
    drive(engine, robot.started(calling))
    eventually(lambda: not Hold.objects.filter(released_at=None).exists())

    used = sum(cost for _, cost in charges())
    assert 7 <= used <= 9
    assert (robot.budget(), balance(owner)) == ((9, used, 9 - used), 50 - used)
    assert "budget_exceeded" in GraphExecution.objects.values_list("error_code", flat=True)


@pytest.mark.parametrize("limit", ["key", "run"])
@pytest.mark.parametrize(("budget", "cost"), [(30, 10), (7, 7)])
def test_what_is_measured_counts_in_full_up_to_the_budget(
    owner: User,
    engine: Engine,
    price: Charge,
    program: Callable[..., Program],
    limit: str,
    budget: int,
    cost: int,
) -> None:
    price("ProbeRead", 1, "item")
    price("ProbePure", 0.5, "item")
    top_up(owner, 8)
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"times": 9}), "b": ("ProbePure", {"value": 1}), "c": ("ProbePure", {"value": 1})},
    )
    if limit == "key":
        run = program(budget).started(graph)
    else:
        run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=budget, ring=False)
    drive(engine, run)

    assert sum(amount for _, amount in charges()) == cost
    assert balance(owner) == 8 - cost


def test_a_fee_beyond_the_budget_is_not_charged(owner: User, engine: Engine, program: Callable[..., Program]) -> None:
    top_up(owner, 5)
    robot = program(1)
    numbers = ("StepThroughItems", {"items": list(range(125))})
    graph = draw(owner, {"items": numbers, "echo": ("StoreValue", {})}, ["items.item -> echo.input"])
    [first] = drive(engine, robot.started(graph))
    assert (first.status, charges(first), robot.budget()) == ("COMPLETED", [("fee", 1.0)], (1, 1, 0))
    [second] = drive(engine, robot.started(graph))
    assert (second.error_code, charges(second), robot.budget()) == ("budget_exceeded", [], (1, 1, 0))


def test_a_lost_worker_leaves_nothing_taken_from_the_budget(
    owner: User, another_engine: Callable[..., Engine], price: Charge, program: Callable[..., Program], hold: Path
) -> None:
    price("ProbeRead", 2)
    price("ProbeKeyed", 3)
    top_up(owner, 50)
    robot = program(5)
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1}), "b": ("ProbeKeyed", {"hold": str(hold)}), "out": output()},
        ["a.value -> b.value", "b.value -> out.value"],
    )
    run = robot.started(graph)
    another_engine().ring([run.pk])
    eventually(lambda: len(charges(run)) == 1)
    take_over(run, another_engine())
    hold.unlink()

    assert ended(run.pk).status == "COMPLETED"
    assert (charges(run), robot.budget()) == ([("ProbeRead", 2.0), ("ProbeKeyed", 3.0)], (5, 5, 0))
    assert list(Hold.objects.values_list("amount", "pool")) == [(0, 0)]


def test_a_hold_that_was_emptied_while_its_block_waited_is_filled_within_the_budget(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program], settings: Settings
) -> None:
    settings.SWEEP_SECONDS = 0.2
    price("CountdownTimer", 3)
    price("ProbeRead", 2)
    top_up(owner, 50)
    robot = program(4)
    parked = robot.started(draw(owner, {"a": ("CountdownTimer", {"seconds": 3})}))
    engine.ring([parked.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=parked.pk, status=Status.WAITING).exists())
    assert robot.budget() == (4, 3, 1)
    Hold.objects.update(expires_at="2020-01-01T00:00:00Z")
    bookkeeping.tidy_up()
    assert (robot.budget(), balance(owner)) == ((4, 0, 4), 50)
    drive(engine, robot.started(chain(owner, "ProbeRead")))

    assert ways([ended(parked.pk)]) == [("FAILED", "budget_exceeded")]
    assert (charges(), robot.budget()) == ([("ProbeRead", 2.0)], (4, 2, 2))


def test_a_key_without_a_budget_asks_the_database_as_often_as_before(
    owner: User, price: Charge, program: Callable[..., Program]
) -> None:
    top_up(owner, 50)
    graph = chain(owner, "ProbeRead")
    free, bound = program(None), program(5)
    free.started(graph), bound.started(graph)
    counts = []
    for robot in (free, bound):
        with CaptureQueriesContext(connection) as queries:
            robot.started(graph)
        counts.append(len(queries))
    assert Hold.objects.filter(key_id=free.key_id).count() == 0
    assert Hold.objects.filter(key_id=bound.key_id).count() == 2
    assert counts[0] < counts[1]
    for run in GraphExecution.objects.all():
        services.stop_run(run.pk)


def test_what_costs_nothing_runs_without_budget_left(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program], settings: Settings
) -> None:
    price("ProbeRead", 5)
    top_up(owner, 50)
    robot = program(5)
    drive(engine, robot.started(chain(owner, "ProbeRead")))
    assert robot.start(chain(owner, "ProbeRead")).status_code == 402
    assert ways(drive(engine, robot.started(chain(owner, "ProbePure")))) == [("COMPLETED", "")]
    settings.CREDITS = "disabled"
    assert ways(drive(engine, robot.started(chain(owner, "ProbeRead")))) == [("COMPLETED", "")]
    assert robot.budget() == (5, 5, 0)


def test_the_answer_to_a_repeated_request_is_the_first_one_also_without_budget(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program]
) -> None:
    price("ProbeRead", 5)
    top_up(owner, 50)
    robot, graph = program(5), chain(owner, "ProbeRead")
    first = robot.start(graph, **{"Idempotency-Key": "once"}).json()
    drive(engine, GraphExecution.objects.get())
    assert robot.start(graph, **{"Idempotency-Key": "once"}).json() == first
    assert robot.start(graph, **{"Idempotency-Key": "twice"}).status_code == 402


def test_a_budget_cannot_be_less_than_what_is_taken(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program]
) -> None:
    price("ProbeRead", 2.5)
    top_up(owner, 50)
    robot = program(9)
    drive(engine, robot.started(chain(owner, "ProbeRead")))
    refused = robot.set_budget(2)
    assert (refused.status_code, refused.json()["code"], refused.json()["least"]) == (409, "budget_taken", 3)
    assert "2.5 credits" in refused.json()["message"]
    assert robot.budget() == (9, 2.5, 6.5)
    assert robot.set_budget(3).json()["credits_left"] == 0.5
    with pytest.raises(IntegrityError, match="no_key_exceeds_its_budget"), transaction.atomic():
        ApiKey.objects.update(credits_taken=3 * CREDIT + 1)


def test_the_audit_compares_budgets_with_holds(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program]
) -> None:
    price("ProbeRead", 2)
    top_up(owner, 50)
    robot = program(9)
    drive(engine, robot.started(chain(owner, "ProbeRead")))
    ApiKey.objects.update(credits_taken=CREDIT)
    told = f"Of the budget of API key {robot.key_id} 1000000 is taken, or too much; its runs have used or hold 2000000"
    assert audit().problems == [told]
    ApiKey.objects.update(credits_taken=2 * CREDIT)


def test_an_operator_changes_a_budget_in_the_admin(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program], client: Any
) -> None:
    price("ProbeRead", 2)
    top_up(owner, 50)
    robot = program(9)
    drive(engine, robot.started(chain(owner, "ProbeRead")))
    client.force_login(make.a_user(role=Role.ADMIN))
    page = f"/admin/accounts/apikey/{robot.key_id}/change/"
    assert client.post(page, {"max_credits": 4, "name": "other"}).status_code == 302
    assert (robot.budget(), ApiKey.objects.get().name) == ((4, 2, 2), "program")
    for wrong, why in (("1", "have used or set aside 2 credits"), ("0", "greater than or equal to 1"), ("x", "whole")):
        assert why in client.post(page, {"max_credits": wrong}).content.decode()
    assert robot.budget() == (4, 2, 2)
    assert client.post(page, {"max_credits": ""}).status_code == 302
    assert robot.budget() == (None, None, None)


def test_a_run_without_room_in_its_budget_waits_for_what_it_called(
    owner: User, engine: Engine, price: Charge, hold: Path
) -> None:
    price("ProbeRead", 3)
    top_up(owner, 100)
    child = draw(owner, {"fails": ("ProbeRead", {"hold": str(hold), "fail": "no"})})
    call = {"graph_id": str(child.id), "graph_version": 1, "input_schema": {}, "output_schema": {}}
    graph = draw(
        owner,
        {"call": ("AgentExecutor", call), "timer": ("CountdownTimer", {"seconds": 0.5}), "own": ("ProbeRead", {})},
        ["timer.output_message -> own.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, max_credits=4, ring=False)
    engine.ring([run.pk])
    lacking = NodeExecution.objects.filter(run=run.pk, node_id=graph.nodes["own"], status=NodeStatus.WAITING)
    eventually(lambda: lacking.exists() and GraphExecution.objects.get(pk=run.pk).status == Status.WAITING)
    assert GraphExecution.objects.get(parent=run.pk).status == Status.RUNNING
    # What fails costs nothing: its share of the budget is free again.
    hold.unlink()
    assert ended(run.pk).status == Status.COMPLETED
    assert NodeExecution.objects.get(run=run.pk, node_id=graph.nodes["own"]).status == NodeStatus.COMPLETED


def test_what_a_block_was_promised_stays_promised_however_long_it_takes(
    owner: User, engine: Engine, price: Charge, program: Callable[..., Program], hold: Path
) -> None:
    price("ProbeRead", 5)
    top_up(owner, 20)
    key = program(8)
    slow = key.started(draw(owner, {"a": ("ProbeRead", {"hold": str(hold)})}))
    engine.ring([slow.pk])
    eventually(lambda: NodeExecution.objects.filter(run=slow.pk, status=NodeStatus.RUNNING).exists())
    Hold.objects.update(expires_at="2020-01-01T00:00:00Z")
    bookkeeping.tidy_up()
    other = key.started(chain(owner, "ProbeRead"))
    assert ways(drive(engine, other)) == [("FAILED", "budget_exceeded")]
    hold.unlink()

    assert (ways([ended(slow.pk)]), len(charges()), key.budget()) == ([("COMPLETED", "")], 1, (8, 5.0, 3.0))
