"""Where requests come in: each gets its name, and those that are no good are turned away before anything is done."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.http import JsonResponse
from django.http.response import HttpResponseBase

from core import request_ids
from core.api import envelope
from core.headers import dress

log = logging.getLogger(__name__)

MOST_HEADER_BYTES = 32 * 1024
# A body must be on its way all the time, and may take longer the more of it arrives.
PATIENCE_SECONDS = 20.0
LEAST_BYTES_PER_SECOND = 2_000

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Awaitable[None]]


class Door:
    """ASGI middleware for HTTP and WebSockets.

    A request goes by the id in its `X-Request-Id` or, if that is not well-formed, by a new one, which is also in the
    answer. Headers of more than 32 KB are answered with 431, and a body that trickles in with 408.
    """

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it here."""
        request_id = request_ids.begin(_header(scope, request_ids.HEADER))
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        answer = _Answer(send, request_id)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            await answer.refuse(scope, 431, "headers_too_large", "The headers of the request are larger than 32 KB.")
            return
        patience = _Patience(receive)
        await self._inner(scope, patience.receive, answer.send)
        if patience.is_lost:
            log.warning("A request to %s was given up: its body came too slowly", scope["path"])
            await answer.refuse(scope, 408, "too_slow", "The body of the request came too slowly.")


class _Patience:
    """What a client sends, as long as it does not take too long over its body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ends_at = time.monotonic() + PATIENCE_SECONDS
        self._is_complete = False
        self.is_lost = False

    async def receive(self) -> Message:
        """The next message; who is too slow has left. After the body nothing is awaited but that the client leaves."""
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._ends_at - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self.is_lost = True
            return {"type": "http.disconnect"}
        self._ends_at += len(message.get("body", b"")) / LEAST_BYTES_PER_SECOND
        self._is_complete = not message.get("more_body", False)
        return message


class _Answer:
    """What goes back: the id is put on it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = (request_ids.HEADER.encode(), request_id.encode())
        self._has_begun = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            message = {**message, "headers": [*message.get("headers", ()), self._id]}
        await self._send(message)

    async def refuse(self, scope: Scope, status: int, code: str, text: str) -> None:
        """Answer with an error and end the connection; not if there is an answer already."""
        if self._has_begun:
            return
        response = dress(
            scope["path"], JsonResponse(envelope(code, text), status=status, headers={"Connection": "close"})
        )
        await self.send({"type": "http.response.start", "status": status, "headers": _encoded(response)})
        await self.send({"type": "http.response.body", "body": response.content})


def _encoded(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]


def _header(scope: Scope, name: str) -> str:
    wanted = name.lower().encode()
    return next((value.decode("latin-1") for key, value in scope.get("headers", ()) if key == wanted), "")
