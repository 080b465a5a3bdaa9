"""Watching all runs of a graph, or of a user, over the WebSocket."""

import json
import threading
import time
from typing import Any
from uuid import UUID

import psycopg
import pytest
from asgiref.sync import sync_to_async

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.kinds import Status
from executions.models import GraphExecution
from executions.watching import lookout
from executions.watching.graph_feed import GraphFeed
from graphs.models import GraphVersion
from tests import make
from tests.drawing import draw
from tests.executions.sockets.conftest import PAUSE, Start, finished
from tests.executions.watching import Watcher, seqs, watching


async def test_a_watcher_of_a_graph_sees_each_run_change_its_status(
    watcher: Watcher, owner: User, start: Start, engine: Engine
) -> None:
    graph = await sync_to_async(draw)(owner, PAUSE)
    reply = await watcher.ask("subscribe_graph_executions", graph_id=str(graph.id))
    assert reply == {
        "method": "subscribe_graph_executions",
        "success": True,
        "channel": f"{owner.pk}|graph#{graph.id}|executions",
    }
    run = await start(graph)
    seen = [await watcher.next()]
    engine.ring([run.pk])
    while seen[-1]["data"]["status"] != "COMPLETED":
        seen.append(await watcher.next())
    assert {message["method"] for message in seen} == {"graph_execution_event"}
    assert {message["channel"] for message in seen} == {reply["channel"]}
    assert {message["data"]["id"] for message in seen} == {str(run.pk)}
    statuses = [message["data"]["status"] for message in seen]
    assert (statuses[0], statuses[-1]) == ("QUEUED", "COMPLETED")
    # None comes twice: the engine takes a run up a moment before it tells so with an event.
    assert statuses == list(dict.fromkeys(statuses))
    numbers = seqs(message["data"] for message in seen)
    assert numbers == sorted(numbers)
    assert await watcher.is_quiet()


async def test_a_watcher_of_a_graph_hears_of_an_end_at_once(
    watcher: Watcher, graph: GraphVersion, start: Start
) -> None:
    await watcher.ask("subscribe_graph_executions", graph_id=str(graph.graph_id))
    seconds = []
    for _ in range(5):
        run = await start(graph, who="World")
        assert (await watcher.next())["data"]["status"] == "QUEUED"
        await sync_to_async(services.stop_run)(run.pk)
        began = time.perf_counter()
        assert (await watcher.next())["data"]["status"] == "TERMINATED"
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.1


async def test_a_watcher_of_a_graph_sees_a_run_wait(
    watcher: Watcher, owner: User, start: Start, engine: Engine
) -> None:
    graph = await sync_to_async(draw)(owner, {"a": ("CountdownTimer", {"seconds": 60, "repeat": 1})})
    await watcher.ask("subscribe_graph_executions", graph_id=str(graph.id))
    run = await start(graph)
    engine.ring([run.pk])
    seen = [await watcher.next()]
    while not seen[-1]["data"]["waiting"]:
        seen.append(await watcher.next())
    assert seen[-1]["data"]["id"] == str(run.pk)


async def test_the_runs_of_a_graph_that_changed_are_read_with_few_queries(
    graph: GraphVersion, owner: User, start: Start, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = GraphFeed(owner, graph.graph_id)
    await feed.open()
    runs = [await start(graph, who=str(number)) for number in range(20)]
    for run in runs:
        await finished(engine, run)
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def noted(cursor: Any, statement: Any, *arguments: Any, **options: Any) -> Any:
        if threading.current_thread().name.startswith("sockets"):
            statements.append(str(statement))
        return execute(cursor, statement, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    feed.hear({str(run.pk): 6 for run in runs}, lambda: None)
    messages = [json.loads(text)["data"] for text in await feed.next_page()]
    assert [message["id"] for message in messages] == [str(run.pk) for run in runs]
    assert [message["outputs"] for message in messages] == [{"shout": [f"{number}!"]} for number in range(20)]
    # The runs, the output nodes of their version, the outputs of all runs.
    assert len([statement for statement in statements if "SELECT" in statement]) == 3
    assert await feed.next_page() == []


async def test_many_runs_of_a_graph_all_reach_its_watcher(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    await watcher.ask("subscribe_graph_executions", graph_id=str(graph.graph_id))
    runs = [await start(graph, who=str(number)) for number in range(20)]
    engine.ring([run.pk for run in runs])
    outputs: dict[UUID, Any] = {}
    while len(outputs) < 20:
        event = (await watcher.next())["data"]
        if event["status"] == "COMPLETED":
            outputs[UUID(event["id"])] = event["outputs"]
    assert outputs == {run.pk: {"shout": [f"{number}!"]} for number, run in enumerate(runs)}
    assert await watcher.is_quiet()


async def test_a_watcher_of_a_graph_begins_with_the_runs_under_way(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine, owner: User
) -> None:
    await finished(engine, await start(graph, who="World"))
    under_way = [await start(graph, who="World") for _ in range(2)]
    await sync_to_async(make.a_run)(owner, (await sync_to_async(make.a_graph)(owner)).graph_id)
    await watcher.ask("subscribe_graph_executions", graph_id=str(graph.graph_id))
    snapshots = [(await watcher.next())["data"] for _ in under_way]
    assert [(event["id"], event["status"], event["snapshot"]) for event in snapshots] == [
        (str(run.pk), "QUEUED", True) for run in under_way
    ]
    assert await watcher.is_quiet()


async def test_a_lost_hint_about_a_graph_is_made_up_for(
    graph: GraphVersion, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.2)
    async with watching(owner) as watcher:
        await watcher.ask("subscribe_graph_executions", graph_id=str(graph.graph_id))
        run = await sync_to_async(make.a_run)(owner, graph.graph_id)
        assert (await watcher.next())["data"]["id"] == str(run.pk)
        await GraphExecution.objects.filter(pk=run.pk).aupdate(status=Status.WAITING)
        assert (await watcher.next())["data"]["waiting"] is True


async def test_a_watcher_of_all_sees_the_runs_of_every_graph_and_of_nobody_else(
    watcher: Watcher, graph: GraphVersion, owner: User, start: Start, engine: Engine
) -> None:
    another = await sync_to_async(make.a_graph)(owner)
    stranger = await sync_to_async(make.a_user)()
    theirs = await sync_to_async(make.a_graph)(stranger)
    under_way = await start(graph, who="World")
    reply = await watcher.ask("subscribe_all_executions")
    assert reply == {"method": "subscribe_all_executions", "success": True, "channel": f"{owner.pk}|executions"}
    snapshot = await watcher.next()
    assert (snapshot["channel"], snapshot["data"]["id"]) == (reply["channel"], str(under_way.pk))
    assert snapshot["data"]["snapshot"] is True
    await sync_to_async(services.start_run)(theirs.graph_id, 1, user_id=stranger.pk, inputs={"who": "x"}, ring=False)
    new = await start(another, who="World")
    seen = (await watcher.next())["data"]
    assert (seen["id"], seen["graph_id"], seen["status"]) == (str(new.pk), str(another.graph_id), "QUEUED")
    engine.ring([under_way.pk, new.pk])
    outputs: dict[str, Any] = {}
    while len(outputs) < 2:
        event = (await watcher.next())["data"]
        if event["status"] == "COMPLETED":
            outputs[event["id"]] = event["outputs"]
    assert outputs == {str(run.pk): {"shout": ["WORLD!"]} for run in (under_way, new)}
    assert await watcher.is_quiet()


async def test_a_lost_hint_about_any_run_is_made_up_for(
    graph: GraphVersion, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.2)
    async with watching(owner) as watcher:
        await watcher.ask("subscribe_all_executions")
        run = await sync_to_async(make.a_run)(owner, graph.graph_id)
        assert (await watcher.next())["data"]["id"] == str(run.pk)


async def test_every_subscription_can_be_left_by_its_channel(
    watcher: Watcher, graph: GraphVersion, start: Start
) -> None:
    run = await start(graph, who="World")
    for method, data in (
        ("subscribe_graph_execution", {"graph_exec_id": str(run.pk), "after_seq": 1}),
        ("subscribe_graph_executions", {"graph_id": str(graph.graph_id)}),
        ("subscribe_all_executions", {}),
    ):
        channel = (await watcher.ask(method, **data))["channel"]
        if method != "subscribe_graph_execution":
            assert (await watcher.next())["data"]["snapshot"] is True
        assert (await watcher.ask("unsubscribe", channel=channel))["channel"] == channel
        assert (await watcher.ask("unsubscribe", channel=channel))["channel"] is None
    await sync_to_async(services.stop_run)(run.pk)
    assert await watcher.is_quiet()
