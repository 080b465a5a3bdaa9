"""How requests reach Django from the ASGI server."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.db import connection

from accounts import services
from accounts.models import User
from core.asgi import ThreadedHandler
from core.postgres.base import DatabaseWrapper
from executions.models import GraphExecution
from tests.drawing import draw
from tests.waiting import wait_until

Message = Mapping[str, Any]

LEAVES: Message = {"type": "http.disconnect"}
# As in config.asgi: a static file is read in one go.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")

BIG_FILE = "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


class Client:
    """A server's side of one request: what the client sends, and what it got."""

    def __init__(self, path: str, messages: Iterable[Message] = ({"type": "http.request"},), **scope: Any) -> None:
        self.scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": path, "query_string": b""}
        self.scope |= {"headers": [(b"host", b"localhost"), *scope.pop("headers", ())], "root_path": "", **scope}
        self.got: list[Message] = []
        self._messages = list(messages)

    async def asks(self, handler: ThreadedHandler) -> "Client":
        """Send the request and take all of the answer."""
        await handler(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> Message:
        """The client's next message; it stays as long as it has not left."""
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        self.got.append(message)

    @property
    def answer(self) -> tuple[int, bytes]:
        """The status and the body."""
        return self.got[0]["status"], b"".join(part.get("body", b"") for part in self.got[1:])


class Slow(Client):
    """Takes the first part of a body, never another, and leaves."""

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        await super().send(message)
        if message["type"] == "http.response.body":
            self._messages.append(LEAVES)
            await asyncio.Event().wait()

    async def receive(self) -> Message:
        """The client's next message."""
        while not self._messages:
            await asyncio.sleep(0.001)
        return self._messages.pop(0)


@pytest.fixture
def handler() -> ThreadedHandler:
    """What the server calls."""
    return ThreadedHandler()


@pytest.mark.django_db(transaction=True)
def test_more_requests_than_threads_and_connections_are_all_answered_and_give_their_connections_back(
    handler: ThreadedHandler,
) -> None:
    async def crowd() -> list[Client]:
        return await asyncio.gather(*(Client("/health").asks(handler) for _ in range(5 * settings.DB_POOL_SIZE)))

    connection.ensure_connection()
    taken = _taken()

    clients = asyncio.run(crowd())

    assert {client.answer for client in clients} == {(200, b'{"status":"healthy"}')}
    # What the pool has just opened takes a moment to arrive in it.
    wait_until(lambda: _taken() <= taken)


def test_an_answer_has_the_headers_that_every_answer_has(handler: ThreadedHandler) -> None:
    client = asyncio.run(Client("/api/nothing").asks(handler))

    headers = dict(client.got[0]["headers"])
    assert client.answer[0] == 404
    assert headers[b"X-Frame-Options"] == b"DENY"
    assert headers[b"Cache-Control"] == b"no-store, no-cache, must-revalidate, private"


@pytest.mark.django_db(transaction=True)
def test_a_client_that_leaves_before_its_request_is_complete_starts_nothing(
    handler: ThreadedHandler, owner: User
) -> None:
    graph = draw(owner, {"a": ("StoreValue", {"input": 1})})
    part = {"type": "http.request", "body": b'{"inputs": {}', "more_body": True}
    token = services.issue_tokens(owner).access.encode()
    headers = [
        (b"authorization", b"Bearer " + token),
        (b"content-type", b"application/json"),
        (b"content-length", b"14"),
    ]
    path = f"/api/graphs/{graph.id}/execute/1"

    client = asyncio.run(Client(path, [part, LEAVES], method="POST", headers=headers).asks(handler))
    assert client.got == []
    assert not GraphExecution.objects.exists()

    rest = {"type": "http.request", "body": b"}"}
    client = asyncio.run(Client(path, [part, rest], method="POST", headers=headers).asks(handler))
    assert client.answer[0] == 200
    assert GraphExecution.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("header", "status"), [((b"content-length", b"10485761"), 413), ((b"transfer-encoding", b"chunked"), 411)]
)
def test_a_body_that_is_refused_for_its_length_is_not_received(
    handler: ThreadedHandler, owner: User, header: tuple[bytes, bytes], status: int
) -> None:
    token = services.issue_tokens(owner).access.encode()
    headers = [(b"authorization", b"Bearer " + token), (b"content-type", b"application/json"), header]
    begun = {"type": "http.request", "body": b"[", "more_body": True}

    client = asyncio.run(Client("/api/graphs", [begun], method="POST", headers=headers).asks(handler))

    assert client.answer[0] == status


def test_a_file_is_sent_in_parts_until_its_end(handler: ThreadedHandler) -> None:
    client = asyncio.run(Client(f"/static/{BIG_FILE}").asks(handler))

    assert client.answer == (200, _content(BIG_FILE))
    assert len(client.got) > 10
    assert not client.got[-1].get("more_body")


def test_a_file_is_closed_when_its_client_leaves_half_way(handler: ThreadedHandler) -> None:
    client = asyncio.run(Slow(f"/static/{BIG_FILE}").asks(handler))

    status, body = client.answer
    assert status == 200
    assert 0 < len(body) < len(_content(BIG_FILE))


def test_a_query_that_is_no_text_is_refused(handler: ThreadedHandler) -> None:
    client = asyncio.run(Client("/health", query_string=b"\xff").asks(handler))

    assert client.answer[0] == 400


def _taken() -> int:
    stats = cast(DatabaseWrapper, connection).pool.get_stats()
    return int(stats["pool_size"] - stats["pool_available"])


def _content(path: str) -> bytes:
    found = finders.find(path)
    assert isinstance(found, str)
    with open(found, "rb") as file:
        return file.read()
