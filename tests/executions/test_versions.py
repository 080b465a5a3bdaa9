"""Workers of different releases beside each other, and workers that lack a block."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from core.errors import DomainError
from executions import services
from executions.engine.engine import Engine
from executions.engine.plan import Plan
from executions.engine.store import Store
from executions.engine.sweeps import Sweeps
from executions.errors import Fenced
from executions.explain import why
from executions.kinds import ENGINE_VERSION, Status
from executions.models import GraphExecution, NodeExecution
from graphs.errors import UnknownBlock
from graphs.models import Node
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import kinds, output, outputs
from tests.executions.test_recovery import Forgetful, a_call, lapse, start


class Lacking(Engine):
    """An engine without some of the blocks."""

    async def plan(self, graph_id: Any, version: int) -> Plan:
        """Know none of the graphs."""
        raise UnknownBlock("There is no block 'new'", block_id="new")


class LackingOne(Engine):
    """An engine without a block of one graph."""

    lacks: ClassVar[UUID]

    async def plan(self, graph_id: Any, version: int) -> Plan:
        """Not know that graph."""
        if graph_id == self.lacks:
            raise UnknownBlock("There is no block 'new'", block_id="new")
        return await super().plan(graph_id, version)


class Failing(Engine):
    """An engine that cannot make a plan of any graph."""

    async def plan(self, graph_id: Any, version: int) -> Plan:
        """Fail."""
        raise DomainError("No plan")


def one(owner: User) -> Drawn:
    """A graph that gives 1."""
    return draw(owner, {"one": ("StoreValue", {"input": 1}), "out": output()}, ["one.output -> out.value"])


def seen_by(engine: int, run: GraphExecution) -> tuple[bool, bool, bool]:
    """Whether a worker that understands rows up to `engine` finds the run in a look, in a sweep, and can claim it."""

    async def ask() -> tuple[bool, bool, bool]:
        store = Store("some worker", size=1, engine=engine)
        await store.open()
        try:
            sweeps = Sweeps(store)
            queued = await sweeps.queued([], 10, patience=0)
            lapsed = await sweeps.lapsed([], 10)
            return bool(queued), bool(lapsed), await store.claim(run.pk) is not None
        finally:
            await store.close()

    return asyncio.run(ask())


# --- Releases ---------------------------------------------------------------------------------------------------


def test_a_run_needs_the_release_that_started_it(owner: User) -> None:
    run = start(one(owner), owner)
    assert GraphExecution.objects.get(pk=run.pk).needs_engine == ENGINE_VERSION


def test_an_older_worker_leaves_newer_runs_alone(owner: User) -> None:
    run = start(one(owner), owner)
    before = GraphExecution.objects.filter(pk=run.pk).values().get()
    assert seen_by(ENGINE_VERSION - 1, run) == (False, False, False)
    assert GraphExecution.objects.filter(pk=run.pk).values().get() == before
    assert seen_by(ENGINE_VERSION, run) == (True, False, True)


def test_an_older_worker_does_not_take_over_what_a_newer_one_drove(owner: User) -> None:
    run = start(one(owner), owner)
    assert seen_by(ENGINE_VERSION + 1, run) == (True, False, True)
    run.refresh_from_db()
    assert run.needs_engine == ENGINE_VERSION + 1
    lapse(run)
    GraphExecution.objects.filter(pk=run.pk).update(lease_owner="another")
    assert seen_by(ENGINE_VERSION, run) == (False, False, False)
    assert seen_by(ENGINE_VERSION + 1, run) == (False, True, True)


def test_a_run_that_needs_a_newer_worker_says_so(owner: User) -> None:
    run = start(one(owner), owner)
    GraphExecution.objects.filter(pk=run.pk).update(needs_engine=F("needs_engine") + 1)
    assert why(run.pk).sentences[0].endswith("it needs a worker of a newer release.")


def test_old_and_new_workers_work_beside_each_other(
    owner: User, another_engine: Callable[..., Engine], settings: Settings
) -> None:
    settings.SWEEP_SECONDS = 0.2
    graph = one(owner)
    old, new = [start(graph, owner) for _ in range(5)], [start(graph, owner) for _ in range(5)]
    GraphExecution.objects.filter(pk__in=[run.pk for run in new]).update(needs_engine=ENGINE_VERSION + 1)
    worker = another_engine()
    worker.ring([run.pk for run in (*new, *old)])
    for run in old:
        assert outputs(ended(run.pk)) == {"out": [1]}
    left = GraphExecution.objects.filter(pk__in=[run.pk for run in new])
    assert set(left.values_list("status", "fence")) == {(Status.QUEUED, 0)}
    newer = another_engine(Newer)
    for run in new:
        done = ended(run.pk)
        assert (outputs(done), done.lease_owner) == ({"out": [1]}, newer.owner)


class Newer(Engine):
    """A worker of the next release."""

    def __init__(self) -> None:
        super().__init__()
        self._store.engine = ENGINE_VERSION + 1


# --- Blocks -----------------------------------------------------------------------------------------------------


def test_a_run_is_left_to_a_worker_that_knows_its_blocks(
    owner: User, another_engine: Callable[..., Engine], settings: Settings
) -> None:
    settings.SWEEP_SECONDS = 0.2
    run = start(one(owner), owner)
    lacking = another_engine(Lacking)
    lacking.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, fence=1, status=Status.QUEUED).exists())
    lacking.ring([run.pk])
    run.refresh_from_db()
    assert (run.left_since is not None, run.lease_until, run.claims_without_progress) == (True, None, 0)
    assert f"the worker {lacking.owner} lacks a block of its graph and left it" in why(run.pk).sentences[0]
    assert kinds_so_far(run) == ["run.queued"]
    knowing = another_engine()
    done = ended(run.pk)
    assert (outputs(done), done.lease_owner, done.fence) == ({"out": [1]}, knowing.owner, 2)
    assert done.left_since is None


def kinds_so_far(run: GraphExecution) -> list[str]:
    """The kinds of the events that there are."""
    return list(run.events.order_by("seq").values_list("kind", flat=True))


def test_a_run_that_no_worker_can_drive_fails_by_name_when_patience_is_over(
    owner: User, another_engine: Callable[..., Engine], settings: Settings
) -> None:
    settings.BLOCK_PATIENCE_SECONDS = 0
    graph = one(owner)
    run = start(graph, owner)
    Node.objects.filter(pk=graph.nodes["one"]).update(block_id="no-such-block")
    another_engine().ring([run.pk])
    done = ended(run.pk)
    assert (done.status, done.error_code) == (Status.FAILED, "unknown_block")
    assert "no-such-block" in done.error
    assert kinds(done) == ["run.queued", "run.failed"]


@pytest.mark.parametrize(("kind", "code"), [(Lacking, "unknown_block"), (Failing, "domain_error")])
def test_what_was_under_way_in_a_run_that_cannot_be_driven_ends_with_it(
    owner: User,
    another_engine: Callable[..., Engine],
    settings: Settings,
    hold: Path,
    tmp_path: Path,
    kind: type[Engine],
    code: str,
) -> None:
    settings.BLOCK_PATIENCE_SECONDS = 0
    log = tmp_path / "log"
    run = start(draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold), "log": str(log)})}), owner)
    another_engine().ring([run.pk])
    eventually(log.exists)
    lapse(run)
    another_engine(kind).ring([run.pk])
    done = ended(run.pk)
    assert (done.status, done.error_code, done.node_count) == (Status.FAILED, code, 1)
    assert kinds(done)[-2:] == ["node.terminated", "run.failed"]
    assert NodeExecution.objects.get(run=run.pk).status == "TERMINATED"


def test_a_run_that_called_a_graph_with_an_unknown_block_is_left_to_others(
    owner: User, another_engine: Callable[..., Engine], settings: Settings
) -> None:
    settings.SWEEP_SECONDS = 0.2
    run = start(a_call(owner), owner)
    another_engine(Forgetful).ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(parent=run.pk, status=Status.COMPLETED).exists())
    eventually(lambda: NodeExecution.objects.filter(run=run.pk, status="RUNNING").exists())
    lapse(run)
    LackingOne.lacks = GraphExecution.objects.get(parent=run.pk).graph_id
    lacking = another_engine(LackingOne)
    lacking.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, left_since__isnull=False).exists())
    knowing = another_engine()
    done = ended(run.pk)
    assert (outputs(done), done.lease_owner) == ({"out": [2.0]}, knowing.owner)


def test_a_run_that_was_taken_over_is_not_given_up(owner: User) -> None:
    run = start(one(owner), owner)
    assert seen_by(ENGINE_VERSION, run)[2]
    before = GraphExecution.objects.filter(pk=run.pk).values().get()
    with pytest.raises(Fenced):
        services.give_up(run.pk, 0, "", "unknown_block", "There is no such block")
    assert GraphExecution.objects.filter(pk=run.pk).values().get() == before


def test_patience_begins_anew_after_each_commit(owner: User, another_engine: Callable[..., Engine]) -> None:
    run = start(one(owner), owner)
    GraphExecution.objects.filter(pk=run.pk).update(left_since=Now())
    another_engine().ring([run.pk])
    assert ended(run.pk).left_since is None
