"""How many random graphs and schedules are tried."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as bounds_of
from pytest_django import Settings

from accounts.models import User
from executions.engine import driver, follower
from executions.engine.engine import Engine
from graphs.models import GraphVersion
from graphs.services import load_definition
from tests.drawing import Drawn, draw
from tests.proof.machine import Machine, Stage
from tests.proof.shapes import shapes
from tests.proof.worker import know


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only seen when this folder is named: `pytest tests/proof --proof-examples 5000`."""
    parser.addoption(
        "--proof-examples", type=int, default=None, help="try so many random graphs and schedules, others each time"
    )


@pytest.fixture
def bounds(request: pytest.FixtureRequest) -> Callable[..., bounds_of]:
    """Hypothesis' settings: always the same few examples, unless the command line asks for more."""
    wanted = request.config.getoption("proof_examples", default=None)

    def bounded(examples: int, **more: Any) -> bounds_of:
        return bounds_of(
            max_examples=wanted or examples,
            derandomize=wanted is None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            **more,
        )

    return bounded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """As many examples as somebody asks for may take their time."""
    if config.getoption("proof_examples", default=None):
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.fixture
def engine(transactional_db: None, caplog: pytest.LogCaptureFixture) -> Iterator[Engine]:
    """An engine that drives runs until the test is over."""
    # Blocks that are meant to fail do so hundreds of times.
    caplog.set_level("ERROR", "executions.engine.journal")
    engine = Engine()
    engine.start()
    yield engine
    engine.stop(grace=1)


@pytest.fixture
def called(owner: User) -> Drawn:
    """A graph that others call: it gives each of its numbers, and one more."""
    return draw(
        owner,
        {
            "in": ("AgentInput", {"name": "n"}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "both": ("CreateList", {"max_size": 1}),
            "out": ("AgentOutput", {"name": "more", "escape_html": False}),
        },
        [
            "in.result -> add.a",
            "in.result -> both.values_$_0",
            "add.result -> both.values_$_1",
            "both.list -> out.value",
        ],
        name="called",
    )


@pytest.fixture
def machine(
    owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> Iterator[type[Machine]]:
    """The state machine, on a stage with graphs to run and a loop for its workers."""
    # How long a commit may wait for others to share it must not depend on how busy this computer is.
    monkeypatch.setattr(driver, "MAX_DELAY", 3600.0)
    monkeypatch.setattr(driver, "STREAM_DELAY", 0.0)
    # Nor how long a driver listens to a block that runs apart: it takes what is there.
    monkeypatch.setattr(follower, "PATIENCE", 0.002)
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.002)
    settings.LEASE_SECONDS = 3600.0
    caplog.set_level("ERROR", "executions.engine.journal")
    stage = Stage(owner, shapes(owner, tmp_path / "log"), tmp_path / "log", asyncio.new_event_loop())
    for graph_id in GraphVersion.objects.values_list("graph_id", flat=True):
        know(load_definition(graph_id, 1))
    yield type("MachineOnStage", (Machine,), {"stage": stage})
    stage.loop.run_until_complete(stage.loop.shutdown_default_executor())
    stage.loop.close()
