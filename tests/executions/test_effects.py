"""What becomes of an effect that was under way when its worker was lost, by its class and by its node's policy."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from executions import reviews
from executions.engine.engine import Engine
from executions.kinds import Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import Verdict
from graphs.models import Node
from tests.drawing import draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import output, outputs
from tests.executions.test_recovery import lapse, start

Engines = Callable[[], Engine]
UNKNOWN = "The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where probes log their turns."""
    path = tmp_path / "log"
    path.touch()
    return path


def calls(log: Path) -> int:
    """How many turns were logged."""
    return len([line for line in log.read_text().splitlines() if not line.endswith("done")])


def cut_off(
    owner: User, engines: Engines, hold: Path, log: Path, probe: str, metadata: dict[str, Any], **constants: Any
) -> GraphExecution:
    """A run whose probe was under way when its worker fell silent, and that another worker has taken over."""
    graph = draw(
        owner,
        {"once": (probe, {"hold": str(hold), "log": str(log), "value": 1, **constants}), "out": output()},
        ["once.value -> out.value"],
    )
    Node.objects.filter(pk=graph.nodes["once"]).update(metadata=metadata)
    run = start(graph, owner)
    engines().ring([run.pk])
    eventually(log.read_text)
    lapse(run)
    return run


def take_over(run: GraphExecution, engines: Engines) -> None:
    """Let another worker have the run."""
    engines().ring([run.pk])
    eventually(lambda: GraphExecution.objects.get(pk=run.pk).fence > 1)


def once(run: GraphExecution) -> NodeExecution:
    """The probe's activation."""
    return NodeExecution.objects.filter(run=run.pk).order_by("started_at", "pk")[0]


def test_an_unsafe_effect_is_unknown_and_its_node_fails(
    owner: User, another_engine: Engines, hold: Path, log: Path
) -> None:
    run = cut_off(owner, another_engine, hold, log, "ProbeUnsafe", {})
    take_over(run, another_engine)
    done = ended(run.pk)
    assert (outputs(done), once(done).error, calls(log)) == ({}, UNKNOWN, 1)
    hold.unlink()


def test_an_unsafe_effect_is_repeated_where_its_owner_takes_the_risk(
    owner: User, another_engine: Engines, hold: Path, log: Path
) -> None:
    run = cut_off(owner, another_engine, hold, log, "ProbeUnsafe", {"on_unknown": "rerun"})
    take_over(run, another_engine)
    eventually(lambda: calls(log) == 2)
    hold.unlink()
    done = ended(run.pk)
    assert (outputs(done), once(done).attempt) == ({"out": [1]}, 2)


@pytest.mark.parametrize("approved", [True, False])
def test_a_person_decides_about_an_unknown_effect_where_the_node_says_so(
    owner: User, another_engine: Engines, hold: Path, log: Path, approved: bool
) -> None:
    run = cut_off(owner, another_engine, hold, log, "ProbeUnsafe", {"on_unknown": "review"})
    take_over(run, another_engine)
    review: Review = eventually(lambda: Review.objects.filter(run=run.pk).first())
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.REVIEW).exists())
    assert review.instructions.startswith("The worker was lost while this ran. Whether it took effect is unknown")
    assert (review.editable, review.payload["value"], calls(log)) == (False, 1, 1)
    hold.unlink()
    reviews.decide(owner.pk, [Verdict(review.node_execution_id, approved=approved)])
    another_engine().ring([run.pk])
    done = ended(run.pk)
    expected = ({"out": [1]}, "", 2) if approved else ({}, UNKNOWN, 1)
    assert (outputs(done), once(done).error, calls(log)) == expected


def test_a_verifiable_effect_that_happened_is_recorded_and_not_repeated(
    owner: User, another_engine: Engines, hold: Path, log: Path
) -> None:
    run = cut_off(owner, another_engine, hold, log, "ProbeVerifiable", {})
    with log.open("a") as file:
        file.write(f"{log.read_text().split()[0]} done\n")
    take_over(run, another_engine)
    done = ended(run.pk)
    assert (outputs(done), once(done).status, calls(log)) == ({"out": [1]}, "COMPLETED", 1)
    hold.unlink()


def test_a_verifiable_effect_that_did_not_happen_is_repeated(
    owner: User, another_engine: Engines, hold: Path, log: Path
) -> None:
    run = cut_off(owner, another_engine, hold, log, "ProbeVerifiable", {})
    take_over(run, another_engine)
    eventually(lambda: calls(log) == 2)
    hold.unlink()
    assert outputs(ended(run.pk)) == {"out": [1]}


def test_a_verifiable_effect_that_cannot_be_verified_is_unknown(
    owner: User, another_engine: Engines, hold: Path, log: Path
) -> None:
    run = cut_off(owner, another_engine, hold, log, "ProbeVerifiable", {}, fail="no answer")
    take_over(run, another_engine)
    done = ended(run.pk)
    message = "RuntimeError: no answer: whether it took effect is unknown, so it was not repeated"
    assert (once(done).error, calls(log)) == (message, 1)
    hold.unlink()


@pytest.mark.parametrize(("happened", "turns"), [(True, 1), (False, 2)])
def test_a_verifiable_block_whose_process_died_is_asked_before_it_is_repeated(
    owner: User, engine: Engine, host: None, hold: Path, log: Path, happened: bool, turns: int
) -> None:
    graph = draw(
        owner,
        {"once": ("ProbeApartVerifiable", {"hold": str(hold), "log": str(log), "value": 1}), "out": output()},
        ["once.value -> out.value"],
    )
    run = start(graph, owner)
    engine.ring([run.pk])
    key, _, pid = eventually(log.read_text).split()
    if happened:
        with log.open("a") as file:
            file.write(f"{key} done\n")
    hold.unlink()
    os.kill(int(pid), signal.SIGKILL)
    assert outputs(ended(run.pk)) == {"out": [1]}
    assert calls(log) == turns


def test_an_unsafe_block_whose_process_died_is_not_repeated(
    owner: User, engine: Engine, host: None, hold: Path, log: Path
) -> None:
    graph = draw(owner, {"once": ("ProbeApartUnsafe", {"hold": str(hold), "log": str(log), "value": 1})})
    run = start(graph, owner)
    engine.ring([run.pk])
    os.kill(int(eventually(log.read_text).split()[2]), signal.SIGKILL)
    died = "The process that ran this block died (signal 9, SIGKILL)"
    assert once(ended(run.pk)).error == f"{died}: whether it took effect is unknown, so it was not repeated"
