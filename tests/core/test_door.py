"""What happens to requests before Django sees them."""

import asyncio
import logging
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path

from config import urls
from core import door, request_ids
from core.asgi import ThreadedHandler
from core.door import Door
from tests.core.test_asgi import LEAVES, Client, Message

GIVEN = "my-request_1.a"


def crash(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def talk(request: HttpRequest) -> HttpResponse:
    logging.getLogger("tests.door").warning("on the way")
    return HttpResponse(request_ids.current())


class Urls:
    urlpatterns = [*urls.urlpatterns, path("crash", crash), path("talk", talk)]
    handler400, handler404, handler500 = urls.handler400, urls.handler404, urls.handler500


@pytest.fixture
def entry(settings: Any) -> Door:
    settings.ROOT_URLCONF = Urls
    return Door(ThreadedHandler())


def ask(entry: Door, path: str, *messages: Message, **scope: Any) -> Client:
    client = Client(path, messages or ({"type": "http.request"},), **scope)
    asyncio.run(client.asks(entry))  # type: ignore[arg-type]
    return client


def headers_of(client: Client) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in client.got[0]["headers"]}


TOO_LONG = [(b"x", b"y" * 40_000)]
PLAIN = [(b"content-type", b"text/plain"), (b"content-length", b"1")]
CHUNKED = [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("/talk", {}, 200),
        ("/nowhere", {}, 404),
        ("/crash", {}, 500),
        ("/talk", {"query_string": b"\xff"}, 400),
        ("/api/auth/token", {"method": "POST", "headers": CHUNKED}, 411),
        (
            "/api/auth/token",
            {"method": "POST", "headers": PLAIN, "messages": [{"type": "http.request", "body": b"x"}]},
            415,
        ),
        ("/talk", {"headers": TOO_LONG}, 431),
        ("/api/graphs", {"headers": [(b"host", b"evil.example")]}, 400),
        ("/static/taskloom/icon.svg", {}, 200),
    ],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
def test_every_answer_has_an_id_and_the_headers_of_all(
    entry: Door, path: str, scope: dict[str, Any], status: int
) -> None:
    headers = scope.pop("headers", [])
    messages = scope.pop("messages", [])
    client = ask(entry, path, *messages, headers=[*headers, (b"x-request-id", GIVEN.encode())], **scope)

    got = headers_of(client)
    assert client.got[0]["status"] == status
    assert got["X-Request-Id"] == GIVEN
    assert got["X-Content-Type-Options"] == "nosniff"
    assert got["X-Frame-Options"] == "DENY"
    assert got["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert got["Cross-Origin-Opener-Policy"] == "same-origin"
    assert got["Permissions-Policy"].startswith("camera=()")
    assert "frame-ancestors 'none'" in got["Content-Security-Policy"]
    assert "Server" not in got
    if status >= 400:
        assert b'"code":' in client.answer[1]
        assert got["Cache-Control"].startswith("no-store")


@pytest.mark.parametrize(
    ("offered", "is_kept"),
    [
        ("12345678", True),
        ("0198f3a2-7c1e-7a3b-9c1d-000000000000", True),
        ("a" * 64, True),
        ("", False),
        ("1234567", False),
        ("a" * 65, False),
        ("with a space", False),
        ('quote"quote', False),
        ("line\nbreak-line", False),
        ("-starts-with-a-dash", False),
        ("ümlaut-ümlaut", False),
        ("${jndi:ldap}", False),
    ],
)
def test_an_id_is_taken_over_only_if_it_may_stand_in_a_log(entry: Door, offered: str, is_kept: bool) -> None:
    client = ask(entry, "/talk", headers=[(b"x-request-id", offered.encode("latin-1"))])

    used = client.answer[1].decode()
    assert headers_of(client)["X-Request-Id"] == used
    assert (used == offered) is is_kept
    assert is_kept or len(used) == 32


def test_every_line_that_a_request_logs_has_its_id_and_another_request_has_another(
    entry: Door, caplog: pytest.LogCaptureFixture
) -> None:
    (handler,) = [each for each in logging.getLogger().handlers if each.get_name() == "stderr"]
    first = ask(entry, "/talk")
    second = ask(entry, "/talk")

    ids = [getattr(record, "request_id", None) for record in caplog.records if record.name == "tests.door"]
    assert ids == [headers_of(first)["X-Request-Id"], headers_of(second)["X-Request-Id"]]
    assert len(set(ids)) == 2
    assert handler.formatter is not None
    assert f"[{ids[0]}] on the way" in handler.formatter.format(caplog.records[0])


class Trickling(Client):
    """Sends one byte of its body at a time and never ends."""

    async def receive(self) -> Message:
        """The next byte."""
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}


def test_a_body_that_trickles_in_is_given_up(entry: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.1)
    client = Trickling("/api/auth/token", method="POST", headers=[(b"content-length", b"1000")])

    asyncio.run(asyncio.wait_for(client.asks(entry), 5))  # type: ignore[arg-type]

    assert client.got[0]["status"] == 408
    assert headers_of(client)["Connection"] == "close"
    assert b'"too_slow"' in client.answer[1]


def test_a_client_that_leaves_is_answered_nothing(entry: Door) -> None:
    client = ask(entry, "/talk", {"type": "http.request", "body": b"x", "more_body": True}, LEAVES, method="POST")

    assert client.got == []
