"""Watching one run over the WebSocket."""

from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from accounts.models import User
from executions import events, services
from executions.engine.engine import Engine
from executions.models import GraphExecution
from executions.watching import lookout
from executions.watching.pages import MAX_OUTPUTS
from graphs.models import GraphVersion
from tests.drawing import draw
from tests.executions.sockets.conftest import PAUSE, Start, finished
from tests.executions.watching import Watcher, seqs, watching


async def test_a_watcher_sees_how_things_are_and_then_everything_that_happens(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine, owner: User
) -> None:
    run = await start(graph, who="World")
    reply = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk))
    assert reply == {
        "method": "subscribe_graph_execution",
        "success": True,
        "channel": f"{owner.pk}|graph_exec#{run.pk}",
    }
    snapshot = await watcher.next()
    assert snapshot["channel"] == reply["channel"]
    assert snapshot["data"]["snapshot"] is True
    assert (snapshot["data"]["seq"], snapshot["data"]["status"]) == (1, "QUEUED")
    engine.ring([run.pk])
    events = await watcher.until_end()
    assert seqs(events) == [2, 3, 4, 5, 6]
    assert [event["status"] for event in events] == ["RUNNING", *["COMPLETED"] * 4]
    assert events[-1]["outputs"] == {"shout": ["WORLD!"]}
    assert await watcher.is_quiet()


async def test_a_finished_run_is_replayed_whole_as_it_happened_and_stays_quiet(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    run = await finished(engine, await start(graph, who="World"))
    events = await watcher.follow(run.pk, after_seq=0)
    assert seqs(events) == [1, 2, 3, 4, 5, 6]
    queued, started, *nodes, last = events
    assert (queued["status"], queued["started_at"], queued["ended_at"]) == ("QUEUED", None, None)
    assert (started["status"], started["ended_at"], started["outputs"]) == ("RUNNING", None, {})
    assert started["started_at"]
    assert started["stats"]["node_exec_count"] == 0
    assert [node["output_data"] for node in nodes] == [
        {"result": ["World"]},
        {"output": ["WORLD!"]},
        {"output": ["WORLD!"], "name": ["shout"]},
    ]
    assert (last["status"], last["stats"]["node_exec_count"]) == ("COMPLETED", 3)
    assert await watcher.is_quiet()


async def test_a_finished_run_without_after_seq_is_one_snapshot(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    run = await finished(engine, await start(graph, who="World"))
    (snapshot,) = await watcher.follow(run.pk)
    assert (snapshot["snapshot"], snapshot["seq"], snapshot["outputs"]) == (True, 6, {"shout": ["WORLD!"]})
    assert await watcher.is_quiet()


async def test_a_watcher_resumes_after_the_last_event_it_has(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    run = await finished(engine, await start(graph, who="World"))
    for after_seq in range(6):
        events = await watcher.follow(run.pk, after_seq=after_seq)
        assert seqs(events) == list(range(after_seq + 1, 7))
    reply = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=6)
    assert reply["success"] is True
    assert await watcher.is_quiet()


async def test_the_events_of_a_node_show_it_as_it_was(
    watcher: Watcher, owner: User, start: Start, engine: Engine
) -> None:
    graph = await sync_to_async(draw)(owner, PAUSE)
    run = await start(graph)
    await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=0)
    engine.ring([run.pk])
    live = await watcher.until_end()
    node_events = [event for event in live if event["event_type"] == "node_execution_update"]
    (waiting,) = [event for event in node_events if event["waiting"]]
    assert (waiting["status"], waiting["end_time"], waiting["output_data"]) == ("RUNNING", None, {})
    last = node_events[-1]
    assert (last["status"], last["output_data"]) == ("COMPLETED", {"output_message": ["on"]})
    assert last["end_time"] > last["start_time"]
    replayed = await watcher.follow(run.pk, after_seq=0)
    assert replayed == live


async def test_a_stream_is_sent_once_as_it_comes_and_once_at_its_end(
    watcher: Watcher, owner: User, start: Start, engine: Engine
) -> None:
    # Each item is two outputs, and a commit has room for 4,000 rows.
    count = 5000
    graph = await sync_to_async(draw)(owner, {"each": ("StepThroughItems", {"items": list(range(count))})})
    run = await finished(engine, await start(graph))
    events = await watcher.follow(run.pk, after_seq=0)
    assert seqs(events) == list(range(1, len(events) + 1))
    node_events = [event for event in events if event["event_type"] == "node_execution_update"]
    assert len(node_events) > 2
    collected: list[int] = []
    given = 0
    for event in node_events:
        assert event["outputs_from"] == given
        given = event["output_count"]
        shown = event["output_data"].get("item", [])
        assert len(shown) <= MAX_OUTPUTS
        collected += shown
    assert given == 2 * count
    assert len(collected) <= count


async def test_a_resumed_stream_goes_on_with_the_outputs_that_follow(
    watcher: Watcher, owner: User, start: Start, engine: Engine
) -> None:
    graph = await sync_to_async(draw)(owner, {"each": ("StepThroughItems", {"items": list(range(600))})})
    run = await finished(engine, await start(graph))
    whole = await watcher.follow(run.pk, after_seq=0)
    for after_seq in range(1, len(whole)):
        assert await watcher.follow(run.pk, after_seq=after_seq) == whole[after_seq:]


async def test_long_values_are_sent_as_previews(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    run = await finished(engine, await start(graph, who="x" * 50_000))
    for event in await watcher.follow(run.pk, after_seq=0):
        shown = str(event)
        assert len(shown) < 20_000
        assert event["truncated"] == (" characters left out " in shown)
        assert event["truncated"] is True


async def test_a_stopped_run_ends_for_its_watchers(watcher: Watcher, graph: GraphVersion, start: Start) -> None:
    run = await start(graph, who="World")
    await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=1)
    await sync_to_async(services.stop_run)(run.pk)
    (last,) = await watcher.until_end()
    assert (last["seq"], last["status"]) == (2, "TERMINATED")


async def test_an_unsubscribed_socket_gets_nothing(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    run = await start(graph, who="World")
    subscribed = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=1)
    left = await watcher.ask("unsubscribe", graph_exec_id=str(run.pk))
    assert left == {"method": "unsubscribe", "success": True, "channel": subscribed["channel"]}
    await finished(engine, run)
    assert await watcher.is_quiet()
    again = await watcher.ask("unsubscribe", graph_exec_id=str(run.pk))
    assert again == {"method": "unsubscribe", "success": True, "channel": None}


async def test_a_socket_that_watches_nothing_gets_nothing(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine
) -> None:
    await finished(engine, await start(graph, who="World"))
    assert await watcher.is_quiet()


async def test_watchers_of_one_run_each_get_everything(
    watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine, owner: User
) -> None:
    run = await start(graph, who="World")
    async with watching(owner) as other:
        for each in (watcher, other):
            await each.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=0)
        engine.ring([run.pk])
        assert seqs(await watcher.until_end()) == seqs(await other.until_end()) == [1, 2, 3, 4, 5, 6]


async def test_a_lost_hint_is_made_up_for(
    graph: GraphVersion, start: Start, engine: Engine, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.2)
    # Hints of this run go where nobody listens.
    monkeypatch.setattr(events, "run_topic", lambda run_id: f"elsewhere.{run_id}.{uuid4()}")
    async with watching(owner) as deaf:
        run = await start(graph, who="World")
        await deaf.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=0)
        engine.ring([run.pk])
        assert seqs(await deaf.until_end()) == [1, 2, 3, 4, 5, 6]


async def test_a_deleted_run_sends_no_more(watcher: Watcher, graph: GraphVersion, start: Start, engine: Engine) -> None:
    run = await start(graph, who="World")
    await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=1)
    await GraphExecution.objects.filter(pk=run.pk).aupdate(is_deleted=True)
    await finished(engine, run)
    assert await watcher.is_quiet()
