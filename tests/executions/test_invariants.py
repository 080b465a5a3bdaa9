"""The checker of runs can fail: for each promise a row that breaks it is planted, and named."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from accounts import keys
from accounts.models import ApiKey, ApiKeyPermission, User
from core import json
from credits import ledger
from credits.kinds import CREDIT
from credits.kinds import Kind as TransferKind
from credits.models import Hold
from executions import services
from executions.engine.engine import Engine
from executions.models import (
    Blob,
    BlobUse,
    Event,
    Fire,
    GraphExecution,
    NodeExecution,
    NodeOutput,
    NodeTask,
    NodeTaskPart,
    Review,
    Schedule,
    Token,
)
from files.models import StoredFile
from graphs.services import load_definition
from integrations.models import Delivery, Webhook
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Charge, ended
from tests.invariants import CHECKS, books, effects, family, life, secrets, turns, values, violations

CANARY = "canary-8d1f4c2a"


class Scene:
    """A run in which everything happens, its rows, and somebody else."""

    def __init__(self, graph: Drawn, run: GraphExecution) -> None:
        self.graph, self.run = graph, run
        self.other = make.a_user()
        self.nodes = {name: NodeExecution.objects.filter(run=run, node_id=node) for name, node in graph.nodes.items()}
        self.outputs = NodeOutput.objects.filter(run=run)
        self.events = Event.objects.filter(run=run)
        self.own = GraphExecution.objects.filter(pk=run.pk)
        self.child = GraphExecution.objects.filter(parent=run)

    def id_of(self, name: str) -> UUID:
        """The activation of a node."""
        return self.nodes[name].get().pk

    def told(self, name: str, kind: str) -> Any:
        """The events of this kind of a node."""
        return self.events.filter(node_execution_id=self.id_of(name), kind=kind)

    def wait(self, name: str, source: str) -> Token:
        """Let the value between two nodes wait, as if it had not been consumed."""
        links = load_definition(self.graph.id, 1).links
        link = next(
            one for one in links if (one.source_id, one.sink_id) == (self.graph.nodes[source], self.graph.nodes[name])
        )
        return Token.objects.create(run=self.run, source_id=self.id_of(source), ordinal=0, link_id=link.id, position=0)

    def ask_apart(self, name: str = "echo", given: Any = 7, **columns: Any) -> NodeTask:
        """A node's block has run in a process of its own, as its rows say."""
        node = self.nodes[name].get()
        now = timezone.now()
        task = NodeTask.objects.create(**{
            "id": uuid4(), "run": self.run, "node_execution": node, "turn": 0, "context": {}, "claims": 1,
            "output_count": 1, "started_at": now, "ended_at": now, **columns,
        })  # fmt: skip
        self.nodes[name].update(waits=[{"task": str(task.pk), "outputs": 0}])
        parts = json.encode([["value", given]])
        NodeTaskPart.objects.create(task=task, first=0, count=1, outputs=parts)
        return task

    def review(self, name: str, **columns: Any) -> Review:
        """A node has asked a person."""
        node = self.nodes[name].get()
        review = Review.objects.create(**{
            "run": self.run, "root_id": self.run.pk, "node_execution": node, "turn": 0, "user_id": self.run.user_id,
            "graph_id": self.graph.id, "graph_version": 1, "node_id": node.node_id, "payload": 1, "instructions": "",
            "editable": False, **columns,
        })  # fmt: skip
        self.nodes[name].update(waits=[{"review": str(review.pk), "outputs": 0}])
        return review

    def fire(self, user: User) -> Fire:
        """A time of a schedule of this user's has started the run."""
        schedule = Schedule.objects.create(
            user=user, graph_id=self.graph.id, graph_version=1, name="s", agent_name="a", inputs={},
            credential_inputs={}, cron="* * * * *", zone="UTC", next_fire_at=timezone.now(),
        )  # fmt: skip
        return Fire.objects.create(schedule=schedule, fire_at=timezone.now(), outcome="started", run_id=self.run.pk)

    def deliver(self, user: User, **columns: Any) -> Delivery:
        """Something was delivered to a webhook of this user's, and led to the run."""
        webhook = Webhook.objects.create(user=user, provider="generic", webhook_type="x", secret="s")
        outcomes = [{"preset_id": str(uuid4()), "run_id": str(self.run.pk), "reason": ""}]
        return Delivery.objects.create(**{
            "id": uuid4(), "webhook": webhook, "delivery_id": "1", "event": "e", "payload": b"{}",
            "taken_up_at": timezone.now(), "outcomes": outcomes, **columns,
        })  # fmt: skip


@pytest.fixture
def scene(owner: User, engine: Engine, price: Charge, settings: Settings, tmp_path: Path) -> Scene:
    """A completed run with a charge, a child, a large value, an unsafe effect and a key."""
    settings.CREDITS = "paid"
    ledger.credit(owner.pk, 100 * CREDIT, kind=TransferKind.GRANT, key="grant:scene")
    price("ProbeKeyed", 1)
    child = draw(
        owner,
        {"in": ("AgentInput", {"name": "n"}), "out": ("AgentOutput", {"name": "out", "escape_html": False})},
        ["in.result -> out.value"],
        name="child",
    )
    call = {
        "graph_id": str(child.id),
        "graph_version": 1,
        "inputs": {"n": 5},
        "input_schema": {"properties": {"n": {}}},
        "output_schema": {"properties": {"out": {}}},
    }
    log = str(tmp_path / "log")
    graph = draw(
        owner,
        {
            "seed": ("StoreValue", {"input": 7}),
            "echo": ("ProbeKeyed", {"log": log}),
            "mail": ("ProbeUnsafe", {"log": log, "value": 1}),
            "large": ("StoreValue", {"input": "x" * 40_000}),
            "call": ("AgentExecutor", call),
            "out": ("AgentOutput", {"name": "out", "escape_html": False}),
        },
        ["seed.output -> echo.value", "echo.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, trigger_key="once", max_credits=10, ring=False)
    engine.ring([run.pk])
    return Scene(graph, ended(run.pk))


Plant = Callable[[Scene], object]

PLANTS: dict[Any, list[tuple[Plant, str]]] = {
    life.rest: [
        (lambda at: at.own.update(status="QUEUED", ended_at=None), "has not ended, it is QUEUED"),
        (lambda at: at.own.update(wake_at=timezone.now()), "still has a lease or a time to wake"),
        (lambda at: at.nodes["echo"].update(ended_at=None, status="RUNNING"), "RUNNING is open"),
        (lambda at: at.nodes["echo"].update(started_fence=99), "bears fence 99, above its run's"),
        (lambda at: at.own.update(node_count=7), "counts 7 activations and has 6"),
        (lambda at: at.own.update(node_error_count=1), "counts 1 failures and has 0"),
        (lambda at: at.own.update(node_budget=5), "has 6 activations, above its budget of 5"),
    ],
    life.events: [
        (lambda at: at.events.filter(seq=3).delete(), "has events [1, 2, 4, "),
        (lambda at: at.events.filter(seq=1).update(kind="run.resumed"), "was not queued once and first"),
        (lambda at: at.events.filter(seq=3).update(kind="run.started"), "was started twice"),
        (lambda at: at.events.filter(kind="run.completed").update(kind="run.failed"), "its events say ['run.failed']"),
    ],
    life.events_of_activations: [
        (lambda at: at.told("echo", "node.started").update(node_execution_id=uuid4()), "that are not there"),
        (lambda at: at.told("echo", "node.completed").update(kind="node.failed"), "COMPLETED: its events say"),
        (lambda at: at.told("echo", "node.completed").update(outputs=2), "1 outputs, its last event says 2"),
        (lambda at: at.told("echo", "node.started").update(outputs=2), "its events take outputs back"),
    ],
    life.after_stopping: [
        (lambda at: at.own.update(cancel_requested_at=F("created_at") - timedelta(hours=1)), "after it was stopped"),
    ],
    values.results: [
        (lambda at: at.nodes["echo"].update(ordinal=1), "has activations [1]"),
        (lambda at: at.outputs.filter(value=1).update(node_execution_id=uuid4()), "has outputs of activations that"),
        (lambda at: at.nodes["echo"].update(output_count=2), "counts 2 outputs and has [0]"),
        (lambda at: at.nodes["echo"].update(handed_on=0), "handed on 0 of 1 outputs"),
    ],
    values.arrivals: [
        (lambda at: (at.nodes["echo"].update(handed_on=0), at.wait("out", "echo")), "wait that nobody handed on"),
        (lambda at: at.wait("out", "echo"), "lost 0 values and had 1 turns"),
    ],
    values.large_values: [
        (lambda at: BlobUse.objects.filter(run=at.run).delete(), "large values that nobody knows to be needed"),
        (lambda at: Blob.objects.update(encoded=b'"y"'), "and that is not what was given"),
        (lambda at: Blob.objects.all().delete(), "large values that are not there"),
    ],
    turns.missed: [
        (lambda at: at.nodes["mail"].delete(), "never began ProbeUnsafe"),
        (lambda at: (at.nodes["out"].delete(), at.wait("out", "echo")), "needs for one more turn"),
    ],
    turns.others: [
        (lambda at: at.nodes["out"].delete(), "should have made the turns"),
        (lambda at: at.outputs.filter(node_execution=at.id_of("echo")).update(value=8), "instead of {'name': 'out'"),
    ],
    effects.intents: [
        (lambda at: at.told("echo", "node.started").update(kind="node.waiting"), "gave something without an intent"),
        (lambda at: at.nodes["mail"].update(attempt=2), "must not be repeated and was begun 2 times"),
    ],
    effects.apart: [
        (lambda at: NodeTask.objects.filter(pk=at.ask_apart().pk).update(node_execution=uuid4()), "a task of an activ"),
        (lambda at: NodeTaskPart.objects.filter(task=at.ask_apart()).update(first=1), "after output 0"),
        (lambda at: at.ask_apart(output_count=2), "counts 2 outputs and has 1"),
        (lambda at: at.own.update(ended_at=F("ended_at") - timedelta(hours=1))
            and at.ask_apart(ended_at=None, lease_until=timezone.now()), "goes on"),
        (lambda at: at.ask_apart("mail", 1, claims=2), "must not be repeated, and 2 hosts took it"),
        (lambda at: (at.ask_apart(), at.nodes["echo"].update(waits=[{"task": "another", "outputs": 0}])), "not of "),
        (lambda at: at.ask_apart(error="broken"), "did not end so"),
        (lambda at: at.ask_apart(given=8), "gave [('value', 7)], its task [('value', 8)]"),
    ],
    family.children: [
        (lambda at: at.child.update(status="QUEUED", ended_at=None), "has ended, its child"),
        (lambda at: at.nodes["call"].update(waits=[]), "has 1 children that no activation called"),
        (lambda at: at.nodes["echo"].update(waits=at.nodes["call"].get().waits), "and has children"),
    ],
    family.reviews: [
        (lambda at: at.nodes["echo"].update(waits=[{"review": str(uuid4()), "outputs": 0}]), "asks for reviews"),
        (lambda at: at.review("echo"), "is COMPLETED and waits for a decision"),
    ],
    books.charges: [
        (lambda at: at.nodes["echo"].update(status="FAILED"), "was charged ["),
        (lambda at: Hold.objects.filter(run_id=at.run.pk).update(released_at=None, amount=3), "holds 3 micro-credits"),
        (lambda at: unless("credits_hold", "no_family_exceeds_its_budget")
            and Hold.objects.filter(run_id=at.run.pk).update(taken=F("cap") + 1), " of a budget of 10000000"),
    ],
}  # fmt: skip

BETWEEN: list[tuple[Plant, str]] = [
    (lambda at: unless("", "one_run_per_trigger") and at.child.update(trigger_key="once"), "is not the only run for"),
    (lambda at: [at.fire(at.run.user) for _ in range(2)], "was started by several times of schedules"),
    (lambda at: [at.deliver(at.run.user) for _ in range(2)], "was started by several deliveries"),
    (lambda at: at.child.update(user=at.other), "its parent is somebody else's"),
    (lambda at: at.own.update(source_run_id=at.child.get().pk) and at.child.update(user=at.other), "its source is "),
    (lambda at: at.own.update(api_key_id=a_key(at.other).pk), "its API key is somebody else's"),
    (lambda at: at.review("echo", user_id=at.other.pk), "its review is somebody else's"),
    (lambda at: BlobUse.objects.filter(run=at.run).update(user_id=at.other.pk), "its large value is somebody else's"),
    (lambda at: Hold.objects.filter(run_id=at.run.pk).update(user_id=at.other.pk), "its hold is somebody else's"),
    (lambda at: a_file(at.other, at.run.pk), "its file is somebody else's"),
    (lambda at: at.fire(at.other), "its schedule is somebody else's"),
    (lambda at: at.deliver(at.other), "its webhook is somebody else's"),
    (lambda at: at.deliver(at.run.user, taken_up_at=None), "nobody has taken it up"),
    (lambda at: at.deliver(at.run.user), "deliveries led to 1 runs, of which 0 are there"),
]

LEAKS: list[tuple[Plant, str]] = [
    (lambda at: at.own.update(error=f"x {CANARY} y"), "executions_graphexecution"),
    (lambda at: at.nodes["echo"].update(input_data={"a": [CANARY]}), "executions_nodeexecution"),
    (lambda at: at.outputs.filter(value=7).update(value={CANARY: 1}), "executions_nodeoutput"),
    (lambda at: at.review("echo", instructions=CANARY), "executions_review"),
    (lambda at: at.ask_apart(context={"a": CANARY}), "executions_nodetask"),
    (lambda at: at.ask_apart(given=CANARY), "executions_nodetaskpart"),
    (lambda at: Blob.objects.update(encoded=f'"{CANARY}"'.encode()), "executions_blob"),
]


def unless(table: str, name: str) -> bool:
    """Take away what keeps a wrong row out: a constraint of a table, or an index."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}" if table else f"DROP INDEX {name}")
    return True


def a_key(user: User) -> ApiKey:
    """An API key of this user's."""
    keys.create_key(user, "key", [ApiKeyPermission.EXECUTE_GRAPH])
    return ApiKey.objects.get(user=user)


def a_file(user: User, run_id: UUID) -> StoredFile:
    """A file that the run has made."""
    return StoredFile.objects.create(
        user=user,
        name="a",
        media_type="text/plain",
        size=1,
        sha256="0" * 64,
        run_id=run_id,
        expires_at=timezone.now(),
    )


@contextmanager
def undone() -> Iterator[None]:
    """What the block does to the database is not so."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def unseen(scene: Scene, plants: list[tuple[Plant, str]], look: Callable[[], list[str]]) -> list[tuple[str, list[str]]]:
    """Which of the plants nobody complains about as expected, and what is said instead."""
    silent = []
    for plant, complaint in plants:
        with undone():
            plant(scene)
            found = look()
            if not any(complaint in one for one in found):
                silent.append((complaint, found))
    return silent


def test_each_broken_promise_of_a_run_is_named(scene: Scene) -> None:
    assert set(PLANTS) == set(CHECKS)
    assert violations(secret_texts=[CANARY, *secrets.known()]) == []

    for check, plants in PLANTS.items():
        assert unseen(scene, plants, lambda: violations([scene.run.pk])) == [], check


def test_each_broken_promise_between_runs_is_named(scene: Scene, settings: Settings) -> None:
    assert unseen(scene, BETWEEN, violations) == []
    assert unseen(scene, LEAKS, lambda: violations(secret_texts=["another", CANARY])) == []
    settings.RUNS_PER_USER, settings.RUNS_PER_GRAPH = 0, 0
    found = violations([scene.run.pk])
    # The run that calls may have kept its place meanwhile, or not.
    assert {one.partition(" runs of ")[2] for one in found} == {
        "this user were under way at once, of 0",
        "this graph were under way at once, of 0",
    }
