"""A real engine in the test's own process."""

import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from accounts.models import User
from credits import price_lists
from credits.kinds import CREDIT
from credits.models import PriceEntry
from executions import services
from executions.engine.engine import Engine
from executions.engine.node_host import NodeHost
from executions.kinds import FINAL
from executions.models import GraphExecution
from tests.drawing import Drawn, block_id, draw
from tests.invariants import violations
from tests.workers import ROOT

Run = Callable[..., GraphExecution]
Charge = Callable[..., None]


@pytest.fixture
def engine(transactional_db: None) -> Iterator[Engine]:
    """An engine that drives runs until the test is over."""
    engine = Engine()
    engine.start()
    yield engine
    engine.stop(grace=1)


@pytest.fixture
def run(owner: User, engine: Engine) -> Run:
    """Run a graph to its end."""

    def run_to_end(graph: Drawn, timeout: float = 10, **inputs: Any) -> GraphExecution:
        started = services.start_run(graph.id, graph.version, user_id=owner.pk, inputs=inputs, ring=False)
        engine.ring([started.pk])
        return ended(started.pk, timeout)

    return run_to_end


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """A file that keeps a probe from going on."""
    path = tmp_path / "hold"
    path.touch()
    return path


@pytest.fixture
def another_engine(transactional_db: None) -> Iterator[Callable[..., Engine]]:
    """Makes engines beside each other, as in several worker processes."""
    engines: list[Engine] = []

    def make(kind: type[Engine] = Engine) -> Engine:
        engine = kind()
        engine.start()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.stop(grace=0)


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hears the doorbells of these tests, and new processes look for packages where their environment says."""
    settings.SWEEP_SECONDS = 0.2
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "packages"))


@pytest.fixture
def host(quick: None, transactional_db: None) -> Iterator[NodeHost]:
    """A host that runs isolated blocks until the test is over."""
    host = NodeHost()
    host.start()
    yield host
    host.stop(grace=0)


@pytest.fixture
def price(transactional_db: None) -> Charge:
    """Sets the price of a block."""

    def set_price(block: str, amount: float, per: str = "run", match: Mapping[str, Any] | None = None) -> None:
        name = block if ":" in block else block_id(block)
        place = PriceEntry.objects.filter(block=name).count()
        PriceEntry.objects.create(
            block=name, position=place, amount=int(Decimal(str(amount)) * CREDIT), per=per, match=match or {}
        )
        price_lists.publish("a test", f"{block} costs {amount}")

    return set_price


@pytest.fixture
def calling(owner: User) -> Drawn:
    """A graph that calls one of two priced nodes for each of four values, and has one itself."""
    child = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "n"}),
            "a": ("ProbeRead", {}),
            "b": ("ProbeRead", {}),
            "out": ("AgentOutput", {"name": "out", "escape_html": False}),
        },
        ["in.result -> a.value", "a.value -> b.value", "b.value -> out.value"],
    )
    call = {
        "graph_id": str(child.id),
        "graph_version": 1,
        "input_schema": {"properties": {"n": {}}},
        "output_schema": {"properties": {"out": {}}},
    }
    return draw(
        owner,
        {"items": ("StepThroughItems", {"items": [1, 2, 3, 4]}), "call": ("AgentExecutor", call),
         "own": ("ProbeKeyed", {}), "out": ("AgentOutput", {"name": "out", "escape_html": False})},
        ["items.item -> call.n", "call.out -> own.value", "own.value -> out.value"],
    )  # fmt: skip


def ended(run_id: UUID, timeout: float = 10) -> GraphExecution:
    """The run once it has ended, and what it started too, with rows that keep every promise."""
    run: GraphExecution = eventually(
        lambda: GraphExecution.objects.filter(pk=run_id, status__in=FINAL).first(), timeout
    )
    eventually(lambda: not GraphExecution.objects.filter(root_id=run_id).exclude(status__in=FINAL).exists(), timeout)
    assert violations([run_id]) == []
    return run


def eventually(question: Callable[[], Any], timeout: float = 10) -> Any:
    """The first answer that is true, asked again until `timeout` seconds have passed."""
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not so within {timeout} s")
        time.sleep(0.01)
    return answer
