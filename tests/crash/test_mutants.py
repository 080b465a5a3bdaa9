"""The tests can fail: each guard of the engine is taken away once, and what then goes wrong is seen.

Every scenario runs twice: as the engine is, when nothing may be found, and with the guard gone, when something must.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import F
from django.test import override_settings
from psycopg import OperationalError

from accounts.models import User
from credits import ledger
from executions import node_tasks, services
from executions.audit import audit
from executions.engine import driver, store, suspender, sweeps
from executions.engine.batch import Batch
from executions.engine.beside import MAX_TASKS
from executions.engine.engine import Engine
from executions.engine.node_host import NodeHost
from executions.engine.node_turn import NodeTurn
from executions.engine.rows import Claim, Committed
from executions.kinds import FINAL
from executions.models import GraphExecution, NodeExecution, NodeTask
from executions.node_tasks import Job, Part
from tests.crash.cells import set_prices
from tests.drawing import block_id, draw
from tests.executions.conftest import eventually
from tests.executions.test_engine import output, outputs
from tests.executions.test_recovery import Forgetful, Unhurried, a_call, lapse, start, take_over
from tests.invariants import violations
from tests.workers import ROOT

PATIENCE = 4.0


class Stage:
    """Engines beside each other, started one by one, and the run they fight for."""

    def __init__(self) -> None:
        self._engines: list[Engine] = []

    def engine(self, kind: type[Engine] = Engine) -> Engine:
        """One more engine."""
        engine = kind()
        engine.start()
        self._engines.append(engine)
        return engine

    def clear(self) -> None:
        """Stop them all."""
        for engine in self._engines:
            engine.stop(grace=0)


Scenario = Callable[[User, Stage, Path], list[str]]
Mutate = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def stage(transactional_db: None) -> Iterator[Stage]:
    """A stage that is cleared afterwards."""
    stage = Stage()
    yield stage
    stage.clear()


def seen(run: GraphExecution, expected: dict[str, list[Any]]) -> list[str]:
    """What is wrong with the run once it ended, or did not in good time."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if GraphExecution.objects.filter(pk=run.pk, status__in=FINAL).exists():
            break
        time.sleep(0.02)
    found = violations([run.pk])
    given = outputs(GraphExecution.objects.get(pk=run.pk))
    return found if given == expected else [*found, f"{given} instead of {expected}"]


def a_zombie_lets_go(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A worker that was silent is stopped and lets go of a run that another took over."""
    log, hold = folder / "log", folder / "hold"
    hold.touch()
    graph = draw(
        owner,
        {"stuck": ("ProbeKeyed", {"hold": str(hold), "log": str(log), "value": 1}), "out": output()},
        ["stuck.value -> out.value"],
    )
    run = start(graph, owner)
    zombie = stage.engine()
    zombie.ring([run.pk])
    eventually(log.exists)
    lapse(run)
    stage.engine().ring([run.pk])
    eventually(lambda: len(log.read_text().splitlines()) == 2)
    zombie.stop(grace=0)
    stage.engine().ring([run.pk])
    time.sleep(0.3)
    hold.unlink()
    found = seen(run, {"out": [1]})
    calls = len(log.read_text().splitlines())
    return found if calls == 2 else [*found, f"{calls} calls after one takeover"]


def a_child_ends_early(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A child ends before its parent parks."""
    run = start(a_call(owner), owner)
    stage.engine(Unhurried).ring([run.pk])
    return seen(run, {"out": [2.0]})


def a_value_waited(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A value waits on a pin through several commits, and its worker is lost."""
    log, hold = folder / "log", folder / "hold"
    hold.touch()
    graph = draw(
        owner,
        {
            "early": ("Calculator", {"operation": "Add", "a": 1, "b": 1}),
            "stuck": ("ProbeRead", {"hold": str(hold), "value": 7, "log": str(log)}),
            "join": ("CreateDictionary", {}),
            "out": output(),
        },
        ["early.result -> join.values_#_a", "stuck.value -> join.values_#_b", "join.dictionary -> out.value"],
    )
    run = start(graph, owner)
    stage.engine().ring([run.pk])
    eventually(log.exists)
    lapse(run)
    stage.engine().ring([run.pk])
    eventually(lambda: len(log.read_text().splitlines()) == 2)
    hold.unlink()
    return seen(run, {"out": [{"a": 2, "b": 7}]})


def a_worker_falls_silent(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A worker claims a run and is never heard of again."""
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1}), "out": output()}, ["one.output -> out.value"]), owner)

    async def claim() -> None:
        lost = store.Store("lost", size=1)
        await lost.open()
        await lost.claim(run.pk)
        await lost.close()

    asyncio.run(claim())
    lapse(run)
    stage.engine()
    return seen(run, {"out": [1]})


def a_worker_is_gone_while_its_run_is_parked(owner: User, stage: Stage, folder: Path) -> list[str]:
    """Whoever parked a run is not there when its time comes."""
    graph = draw(
        owner,
        {"timer": ("CountdownTimer", {"seconds": 1.2, "input_message": "tick"}), "out": output()},
        ["timer.output_message -> out.value"],
    )
    run = start(graph, owner)
    first = stage.engine()
    first.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING").exists())
    first.stop(grace=0)
    stage.engine()
    return seen(run, {"out": ["tick"]})


def two_workers_and_one_place(owner: User, stage: Stage, folder: Path) -> list[str]:
    """Two workers are told of runs of a user who has one place."""
    hold = folder / "hold"
    hold.touch()
    graph = draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold)})})
    runs = [start(graph, owner) for _ in range(2)]
    with override_settings(RUNS_PER_USER=1):
        for run in runs:
            stage.engine().ring([run.pk])
        eventually(lambda: GraphExecution.objects.filter(status="RUNNING").exists())
        time.sleep(0.3)
        count = GraphExecution.objects.filter(status="RUNNING").count()
        hold.unlink()
        found = [problem for run in runs for problem in seen(run, {})]
    return found if count == 1 else [*found, f"{count} runs in one place"]


def a_stream_breaks_off(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A worker is lost in the middle of a stream."""
    graph = draw(
        owner,
        {"stream": ("ProbeRead", {"value": "x", "times": 30, "seconds": 0.05}), "out": output()},
        ["stream.value -> out.value"],
    )
    run = start(graph, owner)
    stage.engine().ring([run.pk])
    eventually(lambda: len(outputs(run).get("out", [])) >= 4)
    take_over(run, stage.engine())
    return seen(run, {"out": ["x"] * 30})


def an_effect_is_cut_off(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A worker is lost while an effect is under way that must not be repeated."""
    log, hold = folder / "log", folder / "hold"
    hold.touch()
    graph = draw(owner, {"once": ("ProbeUnsafe", {"hold": str(hold), "log": str(log)})})
    run = start(graph, owner)
    stage.engine().ring([run.pk])
    eventually(log.exists)
    lapse(run)
    stage.engine().ring([run.pk])
    eventually(lambda: GraphExecution.objects.get(pk=run.pk).fence == 2)
    hold.unlink()
    found = seen(run, {})
    calls = len(log.read_text().splitlines())
    return found if calls == 1 else [*found, f"{calls} effects"]


def a_call_is_cut_off(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A worker is lost after it started a child run and before it wrote that down."""
    run = start(a_call(owner), owner)
    stage.engine(Forgetful).ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status__in=FINAL).exists())
    # The parent has written that it calls: what it commits later would renew the lease.
    eventually(lambda: NodeExecution.objects.filter(run=run.pk, status="RUNNING").exists())
    lapse(run)
    stage.engine().ring([run.pk])
    return seen(run, {"out": [2.0]})


def a_worker_is_gone_after_a_result(owner: User, stage: Stage, folder: Path) -> list[str]:
    """The database is lost just after the commit of a result, and nobody hears of it; results cost something."""
    set_prices(owner)
    with override_settings(CREDITS="paid"):
        graph = draw(owner, {"one": ("ProbeKeyed", {"value": 1}), "out": output()}, ["one.value -> out.value"])
        run = start(graph, owner)
        stage.engine(Unheard).ring([run.pk])
        eventually(lambda: NodeExecution.objects.filter(run=run.pk, status="COMPLETED").exists())
        if not GraphExecution.objects.filter(pk=run.pk, status__in=FINAL).exists():
            lapse(run)
        stage.engine().ring([run.pk])
        return seen(run, {"out": [1]}) + audit().problems


def blocks_are_paid_for_and_have_no_room(owner: User, stage: Stage, folder: Path) -> list[str]:
    """More blocks are paid for than may run at once, when their worker is gone."""
    hold = folder / "hold"
    hold.touch()
    many = MAX_TASKS + 5
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "each": ("StepThroughItems", {"items": list(range(many))}),
        "wait": ("ProbeKeyed", {"hold": str(hold)}),
        "out": output(),
    }
    set_prices(owner)
    with override_settings(CREDITS="paid"):
        run = start(draw(owner, nodes, ["each.item -> wait.value", "wait.value -> out.value"]), owner)
        stage.engine().ring([run.pk])
        began = NodeExecution.objects.filter(run=run.pk, block_id=block_id("ProbeKeyed"), status="RUNNING")
        eventually(lambda: began.count() == MAX_TASKS)
        take_over(run, stage.engine())
        hold.unlink()
        return seen(run, {"out": list(range(many))}) + audit().problems


def a_host_is_lost_amid_a_stream(owner: User, stage: Stage, folder: Path) -> list[str]:
    """A block that runs apart had given two of four values when the worker that looked after it fell silent."""
    run = start(
        draw(owner, {"count": ("ProbeCountApart", {"times": 4}), "out": output()}, ["count.value -> out.value"]), owner
    )
    stage.engine().ring([run.pk])
    lost: Job = eventually(lambda: node_tasks.claim("lost", [block_id("ProbeCountApart")]))
    assert node_tasks.hand_on(lost, 0, Part(b'[["value",1],["value",2]]', 2))
    NodeTask.objects.update(lease_until=F("asked_at"))
    heir = NodeHost()
    with pytest.MonkeyPatch.context() as patch:
        # Where its processes find the probes.
        patch.setenv("PYTHONPATH", str(ROOT / "tests" / "packages"))
        heir.start()
        found = seen(run, {"out": [1, 2, 3, 4]})
        heir.stop(grace=0)
    return found


class Unheard(Engine):
    """An engine that loses the database after each commit in which something has ended."""

    def announce(self, claim: Claim, committed: Committed, batch: Batch) -> None:
        """Fail, if so."""
        if batch.node_count and claim.fence == 1:
            raise OperationalError("gone")
        super().announce(claim, committed, batch)


def without(statement: str, guard: str, instead: str = "") -> Mutate:
    """Take a guard out of one of the store's statements; it must be there as often as it stands in the source."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        for name in statement.split():
            module = store if hasattr(store, name) else sweeps
            text: str = getattr(module, name)
            assert guard in text, f"{name} has no {guard!r} any more: change the mutant with it"
            patch.setattr(module, name, text.replace(guard, instead))

    return mutate


def charges_follow_the_commit(patch: pytest.MonkeyPatch) -> None:
    """What a node costs is posted once its result is committed, and the worker is still there."""
    announce = Engine.announce

    def announce_and_charge(self: Engine, claim: Claim, committed: Committed, batch: Batch) -> None:
        for charge in batch.charges:
            ledger.spend(claim.user_id, charge.amount, key=charge.key, run_id=claim.run_id)
        announce(self, claim, committed, batch)

    patch.setattr(Engine, "announce", announce_and_charge)
    guard = "FROM own, jsonb_to_recordset(%(rows)s -> 'charges')"
    without("_COMMIT_METERED", guard, guard.replace("charges", "none"))(patch)


def paid_ones_are_not_written(patch: pytest.MonkeyPatch) -> None:
    """What has begun and waits for room has no row."""
    patch.setattr(driver.Driver, "_take_unwritten", lambda self: [])


def nothing_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """A host takes whatever the block gives for new."""
    patch.setattr(NodeTurn, "_take", lambda self, output: self._outputs.append(output))


def no_skip(patch: pytest.MonkeyPatch) -> None:
    """Outputs that are stored are taken again."""
    for module in (driver, suspender):
        patch.setattr(module, "outputs_before", lambda activation: activation.output_count)


def unsafe_is_repeated(patch: pytest.MonkeyPatch) -> None:
    """Every effect may be repeated."""
    patch.setattr(driver, "Effect", SimpleNamespace(UNSAFE=None, VERIFIABLE=None))


def a_new_child_each_time(patch: pytest.MonkeyPatch) -> None:
    """A call is not recognised."""
    start_run = services.start_run

    def start_another(*arguments: Any, **named: Any) -> GraphExecution:
        return start_run(*arguments, **{**named, "trigger_key": str(uuid4())})

    patch.setattr(services, "start_run", start_another)


MUTANTS: dict[str, tuple[Scenario, Mutate]] = {
    "charges outside of the commit": (a_worker_is_gone_after_a_result, charges_follow_the_commit),
    "holds are not released": (
        a_worker_is_gone_after_a_result,
        without("_COMMIT_METERED", "own.status IN ('COMPLETED', 'FAILED', 'TERMINATED') AS ends", "false AS ends"),
    ),
    "no fence in the commit": (
        a_zombie_lets_go,
        without("_COMMIT", "AND fence = %(fence)s AND lease_owner = %(owner)s"),
    ),
    "parking without looking at the wakes": (
        a_child_ends_early,
        without("_COMMIT", "(wakes <> %(wakes)s OR cancel_requested_at IS NOT NULL)", "false"),
    ),
    "children do not wake their parent": (
        a_child_ends_early,
        without("_COMMIT", "WHERE p.id = %(parent)s AND", "WHERE false AND"),
    ),
    "consumed tokens stay": (
        a_value_waited,
        without("_COMMIT", "WHERE executions_token.run_id = own.id AND", "WHERE false AND"),
    ),
    "waiting tokens are not stored": (a_value_waited, without("_COMMIT", "rows)s -> 'tokens'", "rows)s -> 'none'")),
    "events numbered without raising the run's head": (
        a_worker_falls_silent,
        without("_COMMIT", "head_seq = head_seq + %(events)s,"),
    ),
    "events numbered with gaps": (
        a_worker_falls_silent,
        without("_COMMIT", "head_seq = head_seq + %(events)s", "head_seq = head_seq + 1 + %(events)s"),
    ),
    "a sweeper blind to lapsed leases": (
        a_worker_falls_silent,
        without("_CLAIM _LAPSED", "lease_until < clock_timestamp()", "false"),
    ),
    "a sweeper blind to parked runs": (
        a_worker_is_gone_while_its_run_is_parked,
        without("_WAKE_DUE", "wake_at <= clock_timestamp()", "false"),
    ),
    "claims that do not ask for a place": (
        two_workers_and_one_place,
        without("_CLAIM", "AND executions_has_place(user_id, graph_id, %(per_user)s, %(per_graph)s)"),
    ),
    "a repeated stream is stored again": (a_stream_breaks_off, no_skip),
    "a stream is handed on again": (a_host_is_lost_amid_a_stream, nothing_is_dropped),
    "what is paid for is not written down": (blocks_are_paid_for_and_have_no_room, paid_ones_are_not_written),
    "an unsafe effect is repeated": (an_effect_is_cut_off, unsafe_is_repeated),
    "a call without a key": (a_call_is_cut_off, a_new_child_each_time),
}


@pytest.mark.parametrize("scenario", list(dict.fromkeys(scenario for scenario, _ in MUTANTS.values())))
def test_the_engine_as_it_is_passes(owner: User, stage: Stage, tmp_path: Path, scenario: Scenario) -> None:
    assert scenario(owner, stage, tmp_path) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_an_engine_without_this_guard_is_caught(
    owner: User, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scenario, mutate = MUTANTS[name]
    mutate(monkeypatch)
    assert scenario(owner, stage, tmp_path) != []
