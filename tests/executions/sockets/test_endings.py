"""Sockets that are closed, and what many hints cost."""

import asyncio
import time
from typing import Any

import jwt
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from pytest_django import Settings

from accounts import open_sessions
from accounts.models import Ending, Login, User
from accounts.services import issue_tokens
from config.asgi import application
from core.after_commit import send
from executions import consumers, events, services
from executions.models import Event
from graphs.models import GraphVersion
from tests import make
from tests.accounts.test_api import signed
from tests.executions.sockets.conftest import Start
from tests.executions.watching import Watcher, watching
from tests.websocket import WebSocket


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
    socket = WebSocket(application, f"/ws?token={tokens.access}")
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
    socket = WebSocket(application, f"/ws?token={token}")
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
