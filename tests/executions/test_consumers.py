"""Watching runs over the WebSocket."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import jwt
import psycopg
import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.utils import timezone
from pytest_django import Settings

from accounts import open_sessions
from accounts.models import Ending, Login, User
from accounts.services import issue_tokens
from config.asgi import application
from core.after_commit import send
from executions import consumers, events, feeds, lookout, pages, run_events, services
from executions.engine.engine import Engine
from executions.graph_feed import GraphFeed
from executions.kinds import Status
from executions.models import Event, GraphExecution
from executions.pages import MAX_OUTPUTS, Given, Page
from graphs.models import GraphVersion
from tests import make
from tests.accounts.test_api import signed
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended
from tests.executions.watching import Watcher, seqs, watching

Start = Callable[..., Awaitable[GraphExecution]]

# Starts, waits and ends, so that a run has a moment in which it is under way.
PAUSE: dict[str, Any] = {"a": ("CountdownTimer", {"seconds": 0.3, "repeat": 1, "input_message": "on"})}


@pytest.fixture
async def watcher(owner: User) -> AsyncIterator[Watcher]:
    """A socket of the owner."""
    async with watching(owner) as watcher:
        yield watcher


@pytest.fixture
async def graph(owner: User) -> GraphVersion:
    """Three nodes that compute: its runs have six events."""
    return await sync_to_async(make.a_graph)(owner)


@pytest.fixture
def start(owner: User) -> Start:
    """Queue a run and leave it to the test to ring."""

    async def start_run(graph: GraphVersion | Drawn, **inputs: Any) -> GraphExecution:
        graph_id = graph.id if isinstance(graph, Drawn) else graph.graph_id
        return await sync_to_async(services.start_run)(graph_id, 1, user_id=owner.pk, inputs=inputs, ring=False)

    return start_run


async def finished(engine: Engine, run: GraphExecution) -> GraphExecution:
    """The run, driven to its end."""
    engine.ring([run.pk])
    return await sync_to_async(ended)(run.pk)


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


# --- Many sockets ---------------------------------------------------------------------------------------------


class Socket:
    """A socket of a user without a server around it; it takes messages while `takes` is set."""

    def __init__(self, user: User) -> None:
        self.texts: list[str] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._serving = asyncio.create_task(consumers.consume({"user": user}, self._incoming.get, self._take))

    async def watch(self, run_id: UUID, after_seq: int) -> None:
        """Subscribe to a run and wait for the reply."""
        data = {"graph_exec_id": str(run_id), "after_seq": after_seq}
        text = json.dumps({"method": "subscribe_graph_execution", "data": data})
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})
        await self.has(1)
        assert json.loads(self.texts.pop(0))["success"] is True

    async def has(self, count: int) -> None:
        """Wait until so many messages came."""
        async with asyncio.timeout(20):
            while len(self.texts) < count:
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Hang up."""
        self.takes.set()
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self._serving, 5)

    async def _take(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        if message["type"] == "websocket.send":
            self.texts.append(message["text"])


@pytest.fixture
async def sockets(owner: User) -> AsyncIterator[list[Socket]]:
    """Two hundred sockets of the owner."""
    sockets = [Socket(owner) for _ in range(200)]
    yield sockets
    await asyncio.gather(*(socket.close() for socket in sockets))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, int]]:
    """The pages of events that are read: of which run, after which event."""
    reads: list[tuple[UUID, int]] = []

    def page_after(run_id: UUID, seq: int, given: Given) -> Page:
        reads.append((run_id, seq))
        return pages.page_after(run_id, seq, given)

    monkeypatch.setattr(run_events, "page_after", page_after)
    return reads


async def test_all_sockets_that_watch_a_run_get_the_same_bytes_of_one_read(
    sockets: list[Socket], reads: list[tuple[UUID, int]], graph: GraphVersion, start: Start
) -> None:
    run = await start(graph, who="World")
    await asyncio.gather(*(socket.watch(run.pk, 1) for socket in sockets))
    assert reads == []
    await sync_to_async(services.stop_run)(run.pk)
    for socket in sockets:
        await socket.has(1)
    assert reads == [(run.pk, 1)]
    assert [json.loads(text)["data"]["status"] for text in sockets[0].texts] == ["TERMINATED"]
    assert all(socket.texts == sockets[0].texts for socket in sockets)
    # Nobody keeps the page for long.
    async with asyncio.timeout(5):
        while any(str(run.pk) in str(key) for key in feeds._reads._tasks):
            await asyncio.sleep(0.01)


async def test_sockets_that_come_later_catch_up_and_then_share_what_the_others_read(
    sockets: list[Socket], reads: list[tuple[UUID, int]], owner: User, start: Start, engine: Engine
) -> None:
    run = await start(await sync_to_async(draw)(owner, PAUSE))
    early, late = sockets[:100], sockets[100:]
    await asyncio.gather(*(socket.watch(run.pk, 1) for socket in early))
    engine.ring([run.pk])
    for socket in early:
        await socket.has(1)
    await asyncio.gather(*(socket.watch(run.pk, 0) for socket in late))
    await sync_to_async(ended)(run.pk)
    head = (await GraphExecution.objects.aget(pk=run.pk)).head_seq
    for socket in early:
        await socket.has(head - 1)
    for socket in late:
        await socket.has(head)
    whole = late[0].texts
    assert [json.loads(text)["data"]["seq"] for text in whole] == list(range(1, head + 1))
    assert all(socket.texts == whole for socket in late)
    assert all(socket.texts == whole[1:] for socket in early)
    # A page for each commit, and what those who came later had to read alone: some pages all the same, not hundreds.
    assert len(reads) < 20


async def test_a_slow_socket_does_not_hold_up_the_others_and_misses_nothing(
    sockets: list[Socket], owner: User, start: Start, engine: Engine
) -> None:
    run = await start(await sync_to_async(draw)(owner, PAUSE))
    slow, *others = sockets
    await asyncio.gather(*(socket.watch(run.pk, 0) for socket in sockets))
    slow.takes.clear()
    await finished(engine, run)
    head = (await GraphExecution.objects.aget(pk=run.pk)).head_seq
    for socket in others:
        await socket.has(head)
    assert len(slow.texts) < head
    slow.takes.set()
    await slow.has(head)
    assert slow.texts == others[0].texts


# --- What is refused --------------------------------------------------------------------------------------------


async def test_the_run_and_the_graph_of_another_are_as_absent_as_ones_that_are_not_there(
    watcher: Watcher, engine: Engine
) -> None:
    other = await sync_to_async(make.a_user)()
    theirs = await sync_to_async(make.a_graph)(other)
    run = await sync_to_async(services.start_run)(
        theirs.graph_id, 1, user_id=other.pk, inputs={"who": "World"}, ring=False
    )
    for run_id in (run.pk, uuid4()):
        assert await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run_id)) == {
            "method": "error",
            "success": False,
            "error": "There is no such run.",
            "data": {"method": "subscribe_graph_execution", "code": "no_such_run"},
        }
    for graph_id in (theirs.graph_id, uuid4()):
        reply = await watcher.ask("subscribe_graph_executions", graph_id=str(graph_id))
        assert (reply["method"], reply["data"]["code"]) == ("error", "graph_not_found")
    await finished(engine, run)
    assert await watcher.is_quiet()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "malformed_json"),
        ("[]", "message_invalid"),
        ('"heartbeat"', "message_invalid"),
        ("{}", "message_invalid"),
        ('{"method": 1}', "message_invalid"),
        ('{"method": "graph_execution_event"}', "message_invalid"),
        ('{"method": "subscribe_graph_execution"}', "message_invalid"),
        ('{"method": "subscribe_graph_execution", "data": {}}', "message_invalid"),
        ('{"method": "subscribe_graph_execution", "data": {"graph_exec_id": 7}}', "message_invalid"),
        ('{"method": "subscribe_graph_execution", "data": {"graph_exec_id": "x"}}', "message_invalid"),
        ('{"method": "subscribe_graph_execution", "data": ["x"]}', "message_invalid"),
        ('{"method": "subscribe_graph_executions", "data": {"graph_id": "x"}}', "message_invalid"),
        ('{"method": "unsubscribe", "data": null}', "message_invalid"),
        ('{"method": "' + "x" * 70_000 + '"}', "message_invalid"),
    ],
)
async def test_a_message_that_is_not_understood_is_told_and_the_socket_stays(
    watcher: Watcher, text: str, code: str
) -> None:
    await watcher.socket.send_to(text_data=text)
    reply = await watcher.next()
    assert (reply["method"], reply["success"], reply["data"]["code"]) == ("error", False, code)
    assert reply["error"]
    assert await watcher.ask("heartbeat") == {"method": "heartbeat", "data": "pong", "success": True}


async def test_a_message_may_come_as_bytes(watcher: Watcher) -> None:
    await watcher.socket.send_to(bytes_data=b'{"method": "heartbeat"}')
    assert (await watcher.next())["data"] == "pong"
    await watcher.socket.send_to(bytes_data=b"\xff\xfe")
    assert (await watcher.next())["data"]["code"] == "malformed_json"


@pytest.mark.parametrize("after_seq", [-1, 1.5, "1", True, 2**63, [1]])
async def test_a_place_to_resume_that_is_no_number_is_refused(
    watcher: Watcher, graph: GraphVersion, start: Start, after_seq: object
) -> None:
    run = await start(graph, who="World")
    reply = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=after_seq)
    assert (reply["method"], reply["data"]["code"]) == ("error", "message_invalid")


async def test_a_place_to_resume_beyond_the_newest_event_is_refused(
    watcher: Watcher, graph: GraphVersion, start: Start
) -> None:
    run = await start(graph, who="World")
    reply = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=2)
    assert reply["error"] == "after_seq 2 is beyond the run's newest event, 1"
    assert (await watcher.ask("unsubscribe", graph_exec_id=str(run.pk)))["channel"] is None


async def test_a_socket_has_at_most_so_many_subscriptions(
    watcher: Watcher, graph: GraphVersion, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "MAX_SUBSCRIPTIONS", 2)
    runs = [await sync_to_async(make.a_run)(owner, graph.graph_id) for _ in range(3)]
    replies = [await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=1) for run in runs]
    assert [reply["method"] for reply in replies] == ["subscribe_graph_execution"] * 2 + ["error"]
    assert replies[2]["data"]["code"] == "too_many_subscriptions"
    again = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(runs[0].pk), after_seq=1)
    assert again["success"] is True
    await watcher.ask("unsubscribe", graph_exec_id=str(runs[0].pk))
    third = await watcher.ask("subscribe_graph_execution", graph_exec_id=str(runs[2].pk), after_seq=1)
    assert third["success"] is True


async def test_a_client_that_never_stops_talking_is_let_go(watcher: Watcher) -> None:
    for _ in range(consumers.BURST + 20):
        await watcher.send("heartbeat")
    output = await watcher.socket.receive_output(5)
    pongs = 0
    while output["type"] == "websocket.send":
        pongs += 1
        output = await watcher.socket.receive_output(5)
    assert consumers.BURST <= pongs < consumers.BURST + 20
    assert (output["type"], output["code"]) == ("websocket.close", consumers.ABUSE)


# --- A graph's runs ---------------------------------------------------------------------------------------------


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


# --- All runs of a user -----------------------------------------------------------------------------------------


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


# --- Under pressure ---------------------------------------------------------------------------------------------


async def test_a_flood_of_hints_costs_one_look_at_a_time(watcher: Watcher, graph: GraphVersion, owner: User) -> None:
    run = await sync_to_async(make.a_run)(owner, graph.graph_id, head_seq=500)
    await Event.objects.abulk_create([Event(run_id=run.pk, seq=seq, kind="run.started") for seq in range(1, 501)])
    await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=0)
    for _ in range(1000):
        await sync_to_async(send)(hints=[events.hint(owner.pk, events.event_of(run.pk, 500))])
    assert [(await watcher.next())["data"]["seq"] for _ in range(500)] == list(range(1, 501))
    assert await watcher.is_quiet()


async def test_a_client_that_does_not_read_is_let_go(
    graph: GraphVersion, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_SECONDS", 0.2)
    run = await sync_to_async(make.a_run)(owner, graph.graph_id, head_seq=500)
    await Event.objects.abulk_create([Event(run_id=run.pk, seq=seq, kind="run.started") for seq in range(1, 501)])
    async with watching(owner) as watcher:
        taken: list[dict[str, Any]] = []
        closed = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            taken.append(message)
            if message["type"] == "websocket.close":
                closed.set()
            elif len(taken) > 10:
                await asyncio.Event().wait()

        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        incoming.put_nowait({"type": "websocket.connect"})
        body = f'{{"method": "subscribe_graph_execution", "data": {{"graph_exec_id": "{run.pk}", "after_seq": 0}}}}'
        incoming.put_nowait({"type": "websocket.receive", "text": body})
        serving = asyncio.create_task(consumers.consume({"user": owner}, incoming.get, send))
        await asyncio.wait_for(closed.wait(), 5)
        incoming.put_nowait({"type": "websocket.disconnect", "code": consumers.ABUSE})
        await asyncio.wait_for(serving, 5)
        assert len(taken) == 12
        assert taken[-1]["code"] == consumers.ABUSE
        # Others are served as ever.
        assert (await watcher.ask("heartbeat"))["data"] == "pong"


async def test_a_socket_is_closed_with_1013_while_redis_does_not_answer(owner: User, settings: Settings) -> None:
    layer = settings.CHANNEL_LAYERS["default"]
    nowhere = {**layer, "CONFIG": {**layer["CONFIG"], "hosts": ["unix:///nowhere/valkey.sock"]}}
    settings.CHANNEL_LAYERS = {"default": nowhere}
    tokens = await sync_to_async(issue_tokens)(owner)
    socket = WebsocketCommunicator(application, f"/ws?token={tokens.access}")
    connected, _ = await socket.connect(5)
    assert connected
    closing = await socket.receive_output(5)
    assert (closing["type"], closing["code"]) == ("websocket.close", 1013)


async def test_a_socket_whose_token_expires_is_closed_and_leaves_its_runs(
    owner: User, graph: GraphVersion, start: Start
) -> None:
    run = await start(graph, who="World")
    lasting = await sync_to_async(issue_tokens)(owner)
    login = jwt.decode(lasting.access, options={"verify_signature": False})["login"]
    token = signed(sub=str(owner.pk), login=login, exp=int(time.time()) + 3)
    socket = WebsocketCommunicator(application, f"/ws?token={token}")
    assert (await socket.connect(5))[0]
    watcher = Watcher(socket)
    assert (await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk)))["success"] is True
    assert (await watcher.next())["data"]["snapshot"] is True
    closing = await socket.receive_output(5)
    assert (closing["type"], closing["code"]) == ("websocket.close", 4003)
    await socket.wait(5)
    await sync_to_async(services.stop_run)(run.pk)
    assert await watcher.is_quiet()


@pytest.mark.parametrize("ending", ["logged out", "password changed", "switched off"])
async def test_a_socket_whose_login_ends_is_closed_and_hears_nothing_more(
    owner: User, graph: GraphVersion, start: Start, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(open_sessions, "LOOK_SECONDS", 0.1)
    run = await start(graph, who="World")
    async with watching(owner) as watcher, watching(await sync_to_async(make.a_user)()) as other:
        await watcher.ask("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=1)
        if ending == "logged out":
            await sync_to_async(Login.objects.filter(user=owner).end)(timezone.now(), Ending.LOGGED_OUT)
        elif ending == "password changed":
            owner.set_password("another battery staple")
            await owner.asave()
        else:
            await User.objects.filter(pk=owner.pk).aupdate(is_active=False)
        closing = await watcher.socket.receive_output(5)
        assert closing == {"type": "websocket.close", "code": 4003, "reason": "The login has ended"}
        await watcher.socket.wait(5)
        await sync_to_async(services.stop_run)(run.pk)
        assert await watcher.is_quiet()
        # Who is still logged in stays.
        assert (await other.ask("heartbeat"))["data"] == "pong"
