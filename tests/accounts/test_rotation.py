"""An identity provider changes its keys while people are connected."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from rest_framework.test import APIClient

from accounts import jwks, open_sessions
from config.asgi import application
from tests.accounts.keys import published
from tests.accounts.test_api import whoami
from tests.accounts.test_identities import Published, identity_token, keys, provider
from tests.executions.watching import Watcher
from tests.websocket import WebSocket

__all__ = ["keys", "provider"]

OLD, NEW = published("RS256", "old"), published("RS256", "new", 1)


class Clock:
    """The clock of the keys, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(jwks, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(open_sessions, "LOOK_SECONDS", 0.1)
    return clock


def old_token() -> str:
    return identity_token(kid="old")


def new_token() -> str:
    return identity_token(kid="new", number=1)


async def connected(token: str) -> Watcher:
    """An open socket."""
    socket = WebSocket(application, f"/ws?token={token}")
    assert (await socket.connect(5))[0]
    return Watcher(socket)


async def alive(watcher: Watcher) -> bool:
    return bool((await watcher.ask("heartbeat"))["data"] == "pong")


@pytest.mark.django_db(transaction=True)
async def test_a_new_key_is_good_within_half_a_minute_and_a_withdrawn_one_worthless_within_ten(
    keys: Published, clock: Clock
) -> None:
    client = APIClient()

    async def status(token: str) -> int:
        answer: Any = await sync_to_async(whoami)(client, token)
        return int(answer.status_code)

    keys.show(OLD)
    assert await status(old_token()) == 200
    old = [await connected(old_token()) for _ in range(3)]

    keys.show(OLD, NEW)
    assert await status(new_token()) == 401
    clock.ahead += jwks.RETRY_SECONDS
    new = await connected(new_token())
    assert (await status(old_token()), await status(new_token())) == (200, 200)
    # The first look, and the one for the new key.
    assert keys.asked == 2

    keys.show(NEW)
    assert await status(old_token()) == 200
    assert [await alive(watcher) for watcher in (*old, new)] == [True] * 4
    clock.ahead += jwks.KEEP_SECONDS
    for watcher in old:
        closing = await watcher.socket.receive_output(5)
        assert (closing["type"], closing["code"]) == ("websocket.close", 4003)
        await watcher.socket.wait(5)
    assert (await status(old_token()), await status(new_token())) == (401, 200)
    assert await alive(new)
    await new.socket.disconnect(timeout=5)
