"""Places: how many runs of a user are under way at once, and whose run is next."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import Settings

from accounts.models import User
from core.ids import uuid7
from executions import services
from executions.engine.backlog import Backlog
from executions.engine.engine import Engine
from executions.engine.store import Store
from executions.engine.sweeps import _LINE_OF_ALL, Sweeps
from executions.explain import why
from executions.kinds import FINAL, Status
from executions.models import GraphExecution
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import calling, child, output, outputs
from tests.invariants import violations

T = TypeVar("T")


@pytest.fixture
def no_sweeps(settings: Settings) -> None:
    """Nobody looks for runs by himself."""
    settings.SWEEP_SECONDS = 600


def brief(owner: User, seconds: float = 0.05) -> Drawn:
    """A graph that takes a moment."""
    return draw(
        owner, {"work": ("ProbeRead", {"seconds": seconds, "value": 1}), "out": output()}, ["work.value -> out.value"]
    )


def held_by(owner: User, hold: Path) -> Drawn:
    """A graph that goes on when the file is gone."""
    return draw(owner, {"stuck": ("ProbeRead", {"hold": str(hold), "value": 1})})


def queue(owner: User, graph: Drawn, count: int = 1) -> list[UUID]:
    """Start runs that nobody is told about."""
    runs = (services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False) for _ in range(count))
    return sorted(run.pk for run in runs)


def standing(run_ids: list[UUID]) -> list[str]:
    """The runs' states, in order."""
    states = dict(GraphExecution.objects.filter(pk__in=run_ids).values_list("pk", "status"))
    return [states[run_id] for run_id in run_ids]


def running() -> int:
    """How many runs are under way."""
    return GraphExecution.objects.filter(status=Status.RUNNING).count()


def all_ended(run_ids: list[UUID], timeout: float = 20) -> bool:
    """Wait until the runs have ended, with rows that keep every promise."""
    eventually(lambda: not GraphExecution.objects.filter(pk__in=run_ids).exclude(status__in=FINAL).exists(), timeout)
    return violations(run_ids) == []


def with_stores(count: int, ask: Callable[[list[Store]], Coroutine[Any, Any, T]]) -> T:
    """Ask something of as many processes' stores."""

    async def ask_opened() -> T:
        stores = [Store(f"worker-{n}", size=4) for n in range(count)]
        for store in stores:
            await store.open()
        try:
            return await ask(stores)
        finally:
            for store in stores:
                await store.close()

    return asyncio.run(ask_opened())


# --- Places -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_user", "per_graph", "won"), [(7, 100, 7), (100, 5, 10), (8, 5, 8)])
def test_of_many_claims_at_once_as_many_win_as_there_are_places(
    owner: User, settings: Settings, per_user: int, per_graph: int, won: int
) -> None:
    settings.RUNS_PER_USER, settings.RUNS_PER_GRAPH = per_user, per_graph
    run_ids = [run_id for graph in (brief(owner), brief(owner)) for run_id in queue(owner, graph, 20)]

    async def claim_all(stores: list[Store]) -> list[Any]:
        claims = [store.claim(run_id) for place, run_id in enumerate(run_ids) for store in (stores[place % 5],)]
        return await asyncio.gather(*claims)

    claims = with_stores(5, claim_all)
    assert sum(claim is not None for claim in claims) == won
    assert sorted(standing(run_ids)) == [Status.QUEUED] * (40 - won) + [Status.RUNNING] * won


def test_the_places_of_one_user_are_not_those_of_another(owner: User, settings: Settings) -> None:
    settings.RUNS_PER_USER = 1
    other = make.a_user()
    mine, theirs = queue(owner, brief(owner), 2), queue(other, brief(other), 2)

    async def claim_all(stores: list[Store]) -> list[bool]:
        return [await stores[0].claim(run_id) is not None for run_id in (*mine, *theirs)]

    assert with_stores(1, claim_all) == [True, False, True, False]


def test_a_run_whose_worker_is_gone_is_taken_over_in_its_own_place(owner: User, settings: Settings) -> None:
    settings.RUNS_PER_USER = 1
    [run_id] = queue(owner, brief(owner))

    async def take_over(stores: list[Store]) -> int:
        await stores[0].claim(run_id)
        await stores[0].execute("UPDATE executions_graphexecution SET lease_until = now() - interval '1 s'", ())
        claim = await stores[1].claim(run_id)
        return claim.fence if claim is not None else 0

    assert with_stores(2, take_over) == 2


def test_no_more_runs_are_under_way_than_a_user_may_have(
    owner: User, settings: Settings, another_engine: Callable[[], Engine], no_sweeps: None
) -> None:
    settings.RUNS_PER_USER = 3
    run_ids = queue(owner, brief(owner, 0.02), 60)
    engines = [another_engine() for _ in range(3)]
    for place, engine in enumerate(engines):
        engine.ring(run_ids[place::3])
    seen = []
    while GraphExecution.objects.filter(pk__in=run_ids).exclude(status__in=FINAL).exists():
        seen.append(running())
    assert max(seen) == 3
    assert all_ended(run_ids)


def test_a_run_without_a_place_is_queued_and_says_so_and_goes_on_at_once(
    owner: User, settings: Settings, another_engine: Callable[[], Engine], hold: Path, no_sweeps: None
) -> None:
    settings.RUNS_PER_USER = 2
    graph = held_by(owner, hold)
    first, second, third = queue(owner, graph, 3)
    holder, other = another_engine(), another_engine()
    holder.ring([first, second])
    eventually(lambda: standing([first, second]) == [Status.RUNNING] * 2)
    other.ring([third])
    eventually(lambda: third not in other._driving and other._intake._crowded)
    assert standing([third]) == [Status.QUEUED]
    [sentence] = why(third).sentences
    assert sentence.endswith("waits for a free place: 2 of your 2 runs are under way.")
    hold.unlink()
    assert all_ended([first, second, third])


def test_a_graph_that_has_all_its_places_does_not_hold_up_another(
    owner: User, settings: Settings, another_engine: Callable[[], Engine], hold: Path, no_sweeps: None
) -> None:
    settings.RUNS_PER_GRAPH = 1
    engine = another_engine()
    stuck = queue(owner, held_by(owner, hold), 2)
    free = queue(owner, brief(owner), 2)
    engine.ring(stuck)
    eventually(lambda: running() == 1)
    engine.ring(free)
    assert all_ended(free)
    assert sorted(standing(stuck)) == [Status.QUEUED, Status.RUNNING]
    waiting = GraphExecution.objects.get(status=Status.QUEUED).pk
    assert why(waiting).sentences[0].endswith("waits for a free place: 1 of this graph's 1 runs are under way.")
    hold.unlink()
    assert all_ended(stuck)


def test_a_run_that_parks_gives_its_place_away(
    owner: User, settings: Settings, another_engine: Callable[[], Engine], no_sweeps: None
) -> None:
    settings.RUNS_PER_USER = 1
    timer = draw(owner, {"timer": ("CountdownTimer", {"seconds": 3600})})
    [sleeper], [next_run] = queue(owner, timer), queue(owner, brief(owner))
    another_engine().ring([sleeper, next_run])
    assert all_ended([next_run])
    assert standing([sleeper]) == [Status.WAITING]


def chain_of_calls(owner: User) -> Drawn:
    """A graph that calls a graph that calls a graph that adds one."""
    links = ["in.result -> call.n", "call.more -> out.value"]
    inner = draw(
        owner,
        {"in": ("AgentInput", {"name": "n"}), "call": calling(child(owner)), "out": output("more")},
        links,
    )
    return draw(
        owner, {"in": ("AgentInput", {"name": "n", "value": 1}), "call": calling(inner), "out": output()}, links
    )


def test_graphs_that_call_graphs_end_with_a_single_place(
    owner: User, settings: Settings, another_engine: Callable[[], Engine], no_sweeps: None
) -> None:
    settings.RUNS_PER_USER = 1
    run_ids = queue(owner, chain_of_calls(owner), 5)
    engines = [another_engine(), another_engine()]
    for place, run_id in enumerate(run_ids):
        engines[place % 2].ring([run_id])
    for run_id in run_ids:
        assert outputs(ended(run_id, 20)) == {"out": [2.0]}
    assert GraphExecution.objects.count() == 15


def test_what_was_begun_is_ended_before_something_else_begins(owner: User) -> None:
    graph = brief(owner)
    old, young = queue(owner, graph, 2)
    late = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, parent_id=old, ring=False).pk

    async def look(stores: list[Store]) -> list[UUID]:
        return [found.run_id for found in await Sweeps(stores[0]).queued_of([owner.pk], [], 10)]

    assert with_stores(1, look) == [old, late, young]


# --- Whose turn it is -------------------------------------------------------------------------------------------


def test_a_backlog_gives_each_users_oldest_in_turn() -> None:
    backlog, (a, b) = Backlog(), (uuid7(), uuid7())
    runs = sorted(uuid7() for _ in range(6))
    for place in (3, 1, 2, 0):
        backlog.put(runs[place], a)
    for place in (5, 4, 4):
        backlog.put(runs[place], b)
    assert len(backlog) == 6
    assert [backlog.pop() for _ in range(7)] == [runs[0], runs[4], runs[1], runs[5], runs[2], runs[3], None]
    assert len(backlog) == 0


def test_a_backlog_forgets_a_user_and_takes_each_run_once() -> None:
    backlog, (a, b), (first, second) = Backlog(), (uuid7(), uuid7()), (uuid7(), uuid7())
    backlog.put(first, a)
    backlog.put(second, b)
    backlog.add(first)
    assert backlog.take_unknown(5) == []
    backlog.forget(a)
    assert (len(backlog), backlog.pop(), backlog.pop()) == (1, second, None)


def begun_between(flood: list[UUID], run_id: UUID) -> int:
    """How many runs of the flood began while this one waited."""
    run = GraphExecution.objects.get(pk=run_id)
    return GraphExecution.objects.filter(
        pk__in=flood, started_at__gt=run.created_at, started_at__lt=run.started_at
    ).count()


@pytest.mark.parametrize("is_told", [True, False])
def test_a_flood_of_one_user_does_not_starve_another(
    owner: User, settings: Settings, another_engine: Callable[[], Engine], is_told: bool
) -> None:
    settings.ENGINE_RUNS, settings.SWEEP_SECONDS = 4, 0.4
    flood = queue(owner, brief(owner), 300)
    engines = [another_engine(), another_engine()]
    for place, engine in enumerate(engines):
        engine.ring(flood[place::2])
    eventually(lambda: GraphExecution.objects.filter(pk__in=flood, status__in=FINAL).count() >= 16)
    other = make.a_user()
    [run_id] = queue(other, brief(other, 0))
    if is_told:
        engines[0].ring([run_id])
    eventually(lambda: GraphExecution.objects.filter(pk=run_id, status__in=FINAL).exists())
    # Each of the eight places changes hands about every 60 ms; a sweep finds what is older than 0.2 s.
    assert begun_between(flood, run_id) <= (16 if is_told else 120)
    assert standing([flood[-1]]) == [Status.QUEUED]
    eventually(lambda: not GraphExecution.objects.exclude(status__in=FINAL).exists(), 30)


def test_a_sweep_brings_the_runs_of_those_first_who_have_least(owner: User) -> None:
    other = make.a_user()
    mine, theirs = queue(owner, brief(owner), 6), queue(other, brief(other), 3)

    async def look(stores: list[Store]) -> list[UUID]:
        for run_id in mine[:2]:
            await stores[0].claim(run_id)
        return [found.run_id for found in await Sweeps(stores[0]).queued([], 5, patience=0)]

    assert with_stores(1, look) == [theirs[0], theirs[1], *sorted([mine[2], theirs[2]]), mine[3]]


def test_a_sweep_goes_round_all_users(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executions.engine.sweeps.MAX_PAIRS", 2)
    users = [owner, *(make.a_user() for _ in range(4))]
    run_ids = {queue(user, brief(user))[0] for user in users}

    async def look(stores: list[Store]) -> list[set[UUID]]:
        sweeps = Sweeps(stores[0])
        return [{found.run_id for found in await sweeps.queued([], 10, patience=0)} for _ in range(4)]

    *round_of_all, again = with_stores(1, look)
    assert [len(found) for found in round_of_all] == [2, 2, 1]
    assert set.union(*round_of_all) == run_ids
    assert len(again) == 2


def test_a_sweep_reads_little_of_a_long_queue(owner: User) -> None:
    [run_id] = queue(owner, brief(owner))
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO executions_graphexecution (id, user_id, graph_id, graph_version, inputs, credential_inputs,
                nodes_input_masks, queued_at)
            SELECT gen_random_uuid(), user_id, graph_id, 1, '{}', '{}', '{}', now() - interval '1 min'
            FROM executions_graphexecution, generate_series(1, 20000) WHERE id = %s
            """,
            [run_id],
        )
        cursor.execute("ANALYZE executions_graphexecution")

    async def plan(stores: list[Store]) -> Any:
        sweeps = Sweeps(stores[0])
        start = UUID(int=0)
        arguments = sweeps._line([run_id], 64, 1.0) | {"after_user": start, "after_graph": start}
        [row] = await stores[0].all("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + _LINE_OF_ALL, arguments)
        return row["QUERY PLAN"][0]["Plan"]

    plan_of_look = with_stores(1, plan)
    assert "Seq Scan" not in json.dumps(plan_of_look).replace("CTE Scan", "")
    assert plan_of_look["Actual Rows"] == 64
    assert plan_of_look["Shared Hit Blocks"] + plan_of_look["Shared Read Blocks"] < 400
