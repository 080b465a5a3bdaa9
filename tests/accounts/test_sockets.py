"""The user behind a WebSocket."""

import time
from typing import Any

import pytest
from django.db import OperationalError
from psycopg import Cursor
from pytest_django import Settings

from accounts import services, tickets
from accounts.models import User
from accounts.sockets import TokenAuth
from tests import make
from tests.accounts.test_api import signed
from tests.websocket import WebSocket


async def greet(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application behind: accepts and says who is there."""
    await receive()
    protocols = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": protocols[0] if protocols else None})
    await send({"type": "websocket.send", "text": scope["user"].email})


class Recorder:
    """An application behind that answers everything, too late or not, until its client is gone."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.received.append((await receive())["type"])
        await send({"type": "websocket.accept"})
        while self.received[-1] != "websocket.disconnect":
            self.received.append((await receive())["type"])
            await send({"type": "websocket.send", "text": "too late"})


def socket(query: str = "", protocols: list[str] | None = None, inner: Any = greet, **headers: str) -> WebSocket:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return WebSocket(TokenAuth(inner), f"/ws{query}", headers=sent, subprotocols=protocols)


@pytest.fixture
def user(transactional_db: None) -> User:
    return make.a_user("ada@example.com")


@pytest.fixture
def token(user: User) -> str:
    return services.issue_tokens(user).access


@pytest.fixture
def ticket(user: User, token: str) -> str:
    return tickets.issue(services.session_of(token))


@pytest.mark.usefixtures("closing")
class TestASocket:
    async def test_opens_with_a_token_in_its_query(self, token: str) -> None:
        communicator = socket(f"?token={token}")
        assert await communicator.connect() == (True, None)
        assert await communicator.receive_from() == "ada@example.com"

    async def test_opens_with_a_token_among_its_subprotocols(self, token: str) -> None:
        communicator = socket(protocols=["bearer", token])
        assert await communicator.connect() == (True, "bearer")
        assert await communicator.receive_from() == "ada@example.com"

    async def test_opens_with_a_ticket_in_its_query_once(self, ticket: str) -> None:
        communicator = socket(f"?ticket={ticket}")
        assert await communicator.connect() == (True, None)
        assert await communicator.receive_from() == "ada@example.com"
        assert await closing_code(socket(f"?ticket={ticket}")) == 4003

    async def test_opens_with_a_ticket_among_its_subprotocols(self, ticket: str) -> None:
        communicator = socket(protocols=["ticket", ticket])
        assert await communicator.connect() == (True, "ticket")
        assert await communicator.receive_from() == "ada@example.com"

    async def test_closes_with_4003_when_the_ticket_is_refused(self, user: User) -> None:
        assert await closing_code(socket("?ticket=nonsense")) == 4003

    @pytest.mark.parametrize("query", ["", "?token=", "?other=1", "?ticket="])
    async def test_closes_with_4001_without_a_token(self, user: User, query: str) -> None:
        assert await closing_code(socket(query)) == 4001

    async def test_closes_with_4002_when_the_token_names_nobody(self, user: User) -> None:
        assert await closing_code(socket(f"?token={signed(sub=None)}")) == 4002

    @pytest.mark.parametrize("token", ["nonsense", {}, {"exp": 1}, {"sub": "no id"}, {"token_type": "refresh"}])
    async def test_closes_with_4003_when_the_token_is_refused(self, user: User, token: Any) -> None:
        token = token if isinstance(token, str) else signed(**token)
        assert await closing_code(socket(f"?token={token}")) == 4003

    async def test_closes_with_4003_when_its_token_expires_and_is_quiet_from_then_on(
        self, user: User, token: str
    ) -> None:
        behind = Recorder()
        whose = {"sub": str(user.pk), "login": str((await user.logins.aget()).pk)}
        communicator = socket(f"?token={signed(**whose, exp=int(time.time()) + 2)}", inner=behind)
        assert await communicator.connect() == (True, None)
        closing = await communicator.receive_output(timeout=5)
        assert closing == {"type": "websocket.close", "code": 4003, "reason": "The token has expired"}
        await communicator.wait()
        assert behind.received == ["websocket.connect", "websocket.disconnect"]
        assert await communicator.receive_nothing()

    async def test_closes_with_1013_while_the_database_does_not_answer(
        self, token: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: Any, **__: Any) -> None:
            raise OperationalError("the connection is lost")

        with monkeypatch.context() as patch:
            patch.setattr(Cursor, "execute", away)
            assert await closing_code(socket(f"?token={token}")) == 1013

    async def test_closes_with_4003_when_the_user_is_switched_off(self, user: User, token: str) -> None:
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        assert await closing_code(socket(f"?token={token}")) == 4003

    @pytest.mark.parametrize("origin", ["http://localhost:8000", "https://127.0.0.1", "http://[::1]:3000"])
    async def test_opens_to_pages_of_this_site(self, token: str, origin: str, settings: Settings) -> None:
        settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
        assert await socket(f"?token={token}", origin=origin).connect() == (True, None)

    async def test_opens_to_pages_of_the_front_end(self, token: str, settings: Settings) -> None:
        settings.FRONTEND_URL = "https://app.example.com:8443/studio"
        assert await socket(f"?token={token}", origin="https://app.example.com:8443").connect() == (True, None)
        for origin in (
            "http://app.example.com:8443",
            "https://app.example.com",
            "https://app.example.com:8443.evil.com",
        ):
            accepted, _ = await socket(f"?token={token}", origin=origin).connect()
            assert accepted is False

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost@evil.example", ""]
    )
    async def test_refuses_pages_of_other_sites(self, token: str, origin: str) -> None:
        accepted, _ = await socket(f"?token={token}", origin=origin).connect()
        assert accepted is False


async def closing_code(communicator: WebSocket) -> int:
    """The code that an accepted socket is closed with."""
    accepted, _ = await communicator.connect()
    assert accepted
    closing = await communicator.receive_output()
    assert closing["type"] == "websocket.close"
    return int(closing["code"])
