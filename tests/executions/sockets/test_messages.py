"""What a client says over the WebSocket, and what it is told."""

from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from accounts.models import User
from executions import consumers, services
from executions.engine.engine import Engine
from graphs.models import GraphVersion
from tests import make
from tests.executions.sockets.conftest import Start, finished
from tests.executions.watching import Watcher


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
