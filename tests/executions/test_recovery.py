"""Runs whose worker was lost, lagged behind or let go, and runs that nobody was told about."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import SyncToAsync
from django.db import connection
from django.db.models.functions import Now
from psycopg import OperationalError
from pytest_django import Settings

from accounts.models import User
from executions import services
from executions.engine.answers import Question
from executions.engine.batch import Batch
from executions.engine.engine import Engine
from executions.engine.rows import Claim
from executions.engine.state import Activation
from executions.engine.store import _FIRED, _KEPT, Store
from executions.engine.waits import Wait
from executions.engine.watchdog import EXIT_CODE
from executions.errors import Fenced
from executions.kinds import Status
from executions.models import Event, GraphExecution, NodeExecution
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import calling, child, kinds, output, outputs
from tests.workers import worker


def start(graph: Drawn, owner: User) -> GraphExecution:
    """Queue a run that nobody is told about."""
    return services.start_run(graph.id, graph.version, user_id=owner.pk, inputs={}, ring=False)


def lapse(run: GraphExecution) -> None:
    """Make the run's lease end now, as if its worker had been silent for long."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_graphexecution SET lease_until = now() - interval '1 second' WHERE id = %s", [run.pk]
        )


@contextmanager
def others_may_only_read() -> Iterator[None]:
    """Of this database; the connection of this thread may write."""
    _renew_connections("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        _renew_connections("RESET default_transaction_read_only")


def _renew_connections(change: str) -> None:
    """Change the setting, and let nobody keep a connection from before, nor find one that was ended."""
    # That of the thread which all asynchronous tests share outlives them.
    SyncToAsync.single_thread_executor.submit(lambda: connection.close()).result()
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" {change}')
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.pool.check()  # type: ignore[attr-defined]  # the Postgres backend has it


def take_over(run: GraphExecution, heir: Engine) -> None:
    """Let `heir` have a run whose first worker still commits, and with each commit renews the lease."""

    def is_taken_over() -> bool:
        if GraphExecution.objects.get(pk=run.pk).fence > 1:
            return True
        GraphExecution.objects.filter(pk=run.pk, fence=1).update(lease_until=Now() - timedelta(seconds=1))
        heir.ring([run.pk])
        return False

    eventually(is_taken_over)


def test_a_run_that_nobody_was_told_about_is_found(owner: User, engine: Engine) -> None:
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1})}), owner)
    assert ended(run.pk).status == Status.COMPLETED


def test_a_doorbell_that_rings_often_starts_a_run_once(owner: User, another_engine: Callable[[], Engine]) -> None:
    run = start(draw(owner, {"one": ("ProbeRead", {"seconds": 0.05})}), owner)
    for engine in [another_engine() for _ in range(3)]:
        for _ in range(5):
            engine.ring([run.pk])
    assert ended(run.pk).fence == 1
    assert kinds(run_again(run)) == ["run.queued", "run.started", "node.started", "node.completed", "run.completed"]


def run_again(run: GraphExecution) -> GraphExecution:
    """The run as it is now."""
    run.refresh_from_db()
    return run


@pytest.mark.parametrize("probe", ["ProbeRead", "ProbeKeyed"])
def test_a_silent_worker_loses_its_run_and_what_it_still_writes(
    owner: User, another_engine: Callable[[], Engine], hold: Path, tmp_path: Path, probe: str
) -> None:
    log = tmp_path / "log"
    graph = draw(
        owner,
        {
            "before": ("StoreValue", {"input": "kept"}),
            "stuck": (probe, {"hold": str(hold), "log": str(log)}),
            "out": output(),
        },
        ["before.output -> stuck.value", "stuck.value -> out.value"],
    )
    run = start(graph, owner)
    zombie = another_engine()
    zombie.ring([run.pk])
    eventually(log.exists)
    lapse(run)
    heir = another_engine()
    heir.ring([run.pk])
    eventually(lambda: len(log.read_text().splitlines()) == 2)
    hold.unlink()
    done = ended(run.pk)
    assert outputs(done) == {"out": ["kept"]}
    assert done.fence == 2
    assert (done.node_count, done.lease_owner) == (3, heir.owner)
    keys = [line.split() for line in log.read_text().splitlines()]
    assert keys == [[f"{run.pk}:{graph.nodes['stuck']}:0", "1"], [f"{run.pk}:{graph.nodes['stuck']}:0", "2"]]
    assert NodeExecution.objects.filter(run=run.pk, node_id=graph.nodes["before"]).count() == 1
    kinds(done)


def test_an_unsafe_block_is_not_repeated(
    owner: User, another_engine: Callable[[], Engine], hold: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    graph = draw(
        owner,
        {"once": ("ProbeUnsafe", {"hold": str(hold), "log": str(log)}), "out": output()},
        ["once.error -> out.value"],
    )
    run = start(graph, owner)
    another_engine().ring([run.pk])
    eventually(log.exists)
    lapse(run)
    another_engine().ring([run.pk])
    done = ended(run.pk)
    assert outputs(done) == {
        "out": ["The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"]
    }
    assert len(log.read_text().splitlines()) == 1


def test_values_that_waited_on_pins_are_there_after_a_crash(
    owner: User, another_engine: Callable[[], Engine], hold: Path, tmp_path: Path
) -> None:
    graph = draw(
        owner,
        {
            "letters": ("StepThroughItems", {"items": ["a", "b"]}),
            "stuck": ("ProbeRead", {"hold": str(hold), "value": 7, "times": 2, "log": str(tmp_path / "log")}),
            "fixed": ("AgentInput", {"name": "fixed", "value": "f"}),
            "join": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "letters.item -> join.values_#_letter",
            "stuck.value -> join.values_#_number",
            "fixed.result => join.values_#_fixed",
            "join.dictionary -> out.value",
        ],
    )
    run = start(graph, owner)
    another_engine().ring([run.pk])
    eventually((tmp_path / "log").exists)
    lapse(run)
    another_engine().ring([run.pk])
    hold.unlink()
    assert outputs(ended(run.pk)) == {
        "out": [{"letter": "a", "number": 7, "fixed": "f"}, {"letter": "b", "number": 7, "fixed": "f"}]
    }


def test_a_stream_that_broke_off_is_not_handed_on_twice(
    owner: User, another_engine: Callable[[], Engine], tmp_path: Path
) -> None:
    graph = draw(
        owner,
        {"stream": ("ProbeRead", {"value": "x", "times": 30, "seconds": 0.05}), "out": output()},
        ["stream.value -> out.value"],
    )
    run = start(graph, owner)
    another_engine().ring([run.pk])
    eventually(lambda: NodeExecution.objects.filter(run=run.pk, node_id=graph.nodes["out"]).count() >= 4)
    take_over(run, another_engine())
    done = ended(run.pk)
    assert done.fence == 2
    assert outputs(done) == {"out": ["x"] * 30}
    assert NodeExecution.objects.get(run=run.pk, node_id=graph.nodes["stream"]).attempt == 2


def test_a_worker_that_is_stopped_hands_its_runs_over(
    owner: User, another_engine: Callable[[], Engine], hold: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    run = start(draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold), "log": str(log)})}), owner)
    first = another_engine()
    first.ring([run.pk])
    eventually(log.exists)
    first.stop(grace=0.2)
    left = GraphExecution.objects.get(pk=run.pk)
    assert (left.status, left.lease_until) == (Status.QUEUED, None)
    hold.unlink()
    another_engine()
    assert ended(run.pk).status == Status.COMPLETED


def test_a_worker_that_is_stopped_lets_blocks_finish_in_its_grace(
    owner: User, another_engine: Callable[[], Engine], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    graph = draw(
        owner,
        {"brief": ("ProbeUnsafe", {"seconds": 0.3, "value": 1, "log": str(log)}), "out": output()},
        ["brief.value -> out.value"],
    )
    run = start(graph, owner)
    first = another_engine()
    first.ring([run.pk])
    eventually(log.exists)
    first.stop(grace=5)
    another_engine()
    assert outputs(ended(run.pk)) == {"out": [1]}


def test_a_run_that_brings_down_every_worker_is_given_up(owner: User, another_engine: Callable[[], Engine]) -> None:
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1})}), owner)
    GraphExecution.objects.filter(pk=run.pk).update(claims_without_progress=5)
    another_engine().ring([run.pk])
    done = ended(run.pk)
    assert (done.status, done.error_code) == (Status.FAILED, "crash_loop")
    assert kinds(done) == ["run.queued", "run.failed"]


def test_what_was_under_way_in_a_run_that_is_given_up_ends_with_it(
    owner: User, another_engine: Callable[..., Engine], hold: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    run = start(draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold), "log": str(log)})}), owner)
    another_engine().ring([run.pk])
    eventually(log.exists)
    lapse(run)
    GraphExecution.objects.filter(pk=run.pk).update(claims_without_progress=5)
    another_engine().ring([run.pk])
    done = ended(run.pk)
    assert (done.status, done.error_code, done.node_count) == (Status.FAILED, "crash_loop", 1)
    assert kinds(done)[-2:] == ["node.terminated", "run.failed"]


def test_one_claim_in_a_hundred_wins(owner: User) -> None:
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1})}), owner)

    async def claim_all() -> list[Any]:
        stores = [Store(f"worker-{n}", size=2) for n in range(10)]
        for store in stores:
            await store.open()
        try:
            return await asyncio.gather(*(store.claim(run.pk) for store in stores for _ in range(10)))
        finally:
            for store in stores:
                await store.close()

    claims = [claim for claim in asyncio.run(claim_all()) if claim is not None]
    # The winner may claim again what it holds: only another process is kept out.
    owners = {GraphExecution.objects.get(pk=run.pk).lease_owner}
    assert len(owners) == 1
    assert sorted(claim.fence for claim in claims) == list(range(1, len(claims) + 1))
    assert len(claims) <= 10


def test_a_claim_that_postgres_forgot_gives_its_worker_no_right_beside_the_next(owner: User) -> None:
    run = start(draw(owner, {"one": ("StoreValue", {"input": 1})}), owner)

    async def claim_twice() -> None:
        first, second = Store("first", size=1), Store("second", size=1)
        for store in (first, second):
            await store.open()
        try:
            forgotten = await first.claim(run.pk)
            # What an asynchronous commit may leave behind when Postgres is killed.
            rows = GraphExecution.objects.filter(pk=run.pk)
            await rows.aupdate(status=Status.QUEUED, fence=0, lease_owner="", lease_until=None)
            claim = await second.claim(run.pk)
            assert forgotten is not None
            assert claim is not None
            assert forgotten.fence == claim.fence
            with pytest.raises(Fenced):
                await first.commit(forgotten, 0, Batch())
            assert await first.look({run.pk: forgotten.fence}) == {}
            await second.commit(claim, 0, Batch())
        finally:
            for store in (first, second):
                await store.close()

    asyncio.run(claim_twice())


def test_a_trigger_key_starts_one_run(owner: User) -> None:
    graph = draw(owner, {"one": ("StoreValue", {"input": 1})})
    first, second = (
        services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, trigger_key="order-7", ring=False)
        for _ in range(2)
    )
    assert first.pk == second.pk
    assert GraphExecution.objects.filter(user=owner).count() == 1
    assert Event.objects.filter(run=first.pk).count() == 1


class Unhurried(Engine):
    """An engine that tells a run of its child only when the child has ended."""

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Start the child once the parent has committed that it runs, and let it end first."""
        await asyncio.sleep(0.1)
        wait = await super().ask(claim, activation, question)
        while UUID(wait["child"]) in self._driving:
            await asyncio.sleep(0.001)
        return wait


class Forgetful(Engine):
    """An engine that never hears that its child was started."""

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Start it and wait for ever."""
        await super().ask(claim, activation, question)
        await asyncio.Event().wait()
        raise AssertionError


class Unlucky(Engine):
    """An engine whose first call of a child meets a lost database."""

    is_unlucky = True

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Fail once."""
        if self.is_unlucky:
            self.is_unlucky = False
            raise OperationalError("gone")
        return await super().ask(claim, activation, question)


def a_call(owner: User) -> Drawn:
    """A graph that adds one to 1 by calling another."""
    return draw(
        owner,
        {"call": calling(child(owner)), "in": ("AgentInput", {"name": "x", "value": 1}), "out": output()},
        ["in.result -> call.n", "call.more -> out.value"],
    )


def test_a_child_that_ends_while_its_parent_has_no_worker_is_found(
    owner: User, another_engine: Callable[..., Engine]
) -> None:
    run = start(a_call(owner), owner)
    another_engine(Forgetful).ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.COMPLETED).exists())
    # The parent has written that it calls: what it commits later would renew the lease.
    eventually(lambda: NodeExecution.objects.filter(run=run.pk, status="RUNNING").exists())
    lapse(run)
    another_engine().ring([run.pk])
    assert outputs(ended(run.pk)) == {"out": [2.0]}
    assert GraphExecution.objects.filter(parent=run.pk).count() == 1


def test_a_call_that_meets_a_lost_database_is_made_again(owner: User, another_engine: Callable[..., Engine]) -> None:
    run = start(a_call(owner), owner)
    another_engine(Unlucky).ring([run.pk])
    assert outputs(ended(run.pk)) == {"out": [2.0]}


def test_a_child_that_ends_before_its_parent_waits_for_it_is_noticed(owner: User) -> None:
    graph = draw(
        owner,
        {"call": calling(child(owner)), "in": ("AgentInput", {"name": "x", "value": 1}), "out": output()},
        ["in.result -> call.n", "call.more -> out.value"],
    )
    engine = Unhurried()
    engine.start()
    try:
        run = start(graph, owner)
        engine.ring([run.pk])
        assert outputs(ended(run.pk)) == {"out": [2.0]}
    finally:
        engine.stop(grace=0)


def test_a_run_started_while_the_broker_is_away_is_run(owner: User, engine: Engine, settings: Settings) -> None:
    settings.CELERY_BROKER_URL = "redis+socket:///nowhere/valkey.sock?virtual_host=0"
    graph = draw(owner, {"one": ("StoreValue", {"input": 1})})
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={})
    assert ended(run.pk).status == Status.COMPLETED


def test_a_block_that_hangs_ends_its_process_and_not_the_runs_beside_it(owner: User, tmp_path: Path) -> None:
    hanging = start(draw(owner, {"hang": ("ProbePure", {"value": 1, "seconds": 600})}), owner)
    with worker(tmp_path / "first.log", TASKLOOM_LEASE_SECONDS="2", TASKLOOM_SWEEP_SECONDS="1") as process:
        assert process.wait(30) == EXIT_CODE
    log = (tmp_path / "first.log").read_text()
    assert "The engine hangs" in log
    assert "taskloom_probe" in log
    assert GraphExecution.objects.get(pk=hanging.pk).claims_without_progress == 1
    beside = start(
        draw(owner, {"one": ("StoreValue", {"input": 1}), "out": output()}, ["one.output -> out.value"]), owner
    )
    services.stop_run(hanging.pk)
    with worker(tmp_path / "second.log"):
        assert outputs(ended(beside.pk, 30)) == {"out": [1]}
        assert ended(hanging.pk, 30).status == Status.TERMINATED


def test_a_database_that_could_only_be_read_for_a_while_leaves_no_worker_deaf(
    owner: User, engine: Engine, settings: Settings, hold: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LEASE_SECONDS = 1
    run = start(draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold)})}), owner)
    engine.ring([run.pk])
    eventually(lambda: NodeExecution.objects.filter(run=run.pk).exists())
    with others_may_only_read():
        eventually(lambda: "Leases could not be looked after: cannot execute UPDATE in a read-only" in caplog.text)
    services.stop_run(run.pk)
    assert ended(run.pk).status == Status.TERMINATED


def test_taking_up_a_run_reads_the_last_turn_of_each_node_however_many_there_were(owner: User) -> None:
    graph = draw(owner, {"a": ("StoreValue", {"input": 1}), "b": ("StoreValue", {"input": 1})})
    run, nodes = start(graph, owner), list(graph.nodes.values())
    NodeExecution.objects.bulk_create(
        NodeExecution(
            run=run, node_id=node, block_id="x", ordinal=ordinal, status="COMPLETED", started_fence=1, input_data={},
            started_at=run.created_at, ended_at=run.created_at,
        )
        for node in nodes for ordinal in range(2000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE executions_nodeexecution")
        for statement in (_FIRED, _KEPT):
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, [nodes, run.pk])
            [plan] = cursor.fetchone()[0]
            assert plan["Plan"]["Actual Rows"] == 2
            assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 20
