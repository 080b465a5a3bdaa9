"""The user behind a WebSocket."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import validate_host

from accounts import services
from accounts.errors import TokenRefused, TokenWithoutSubject

NO_TOKEN = 4001
TOKEN_WITHOUT_SUBJECT = 4002
TOKEN_REFUSED = 4003

PROTOCOL = "bearer"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[..., Awaitable[None]]


class TokenAuth:
    """ASGI middleware that puts the token's owner into `scope["user"]`.

    The access token comes as `?token=` or, so that it stays out of URLs and logs, as the second of the subprotocols
    `bearer, <token>`. A socket without a good one is accepted and closed with 4001 (no token), 4002 (the token names
    nobody) or 4003 (refused): a browser shows its page no code of a handshake that failed. A page of another site is
    refused in the handshake; programs that are no browsers send no Origin and pass.
    """

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the socket in, or close it."""
        if not _is_own_origin(scope):
            await receive()
            await send({"type": "websocket.close"})
            return
        token = _token(scope)
        if not token:
            await _accept_and_close(scope, receive, send, NO_TOKEN, "There is no token")
            return
        try:
            user = await database_sync_to_async(services.user_of)(token)
        except TokenWithoutSubject as error:
            await _accept_and_close(scope, receive, send, TOKEN_WITHOUT_SUBJECT, error.message)
        except TokenRefused as error:
            await _accept_and_close(scope, receive, send, TOKEN_REFUSED, error.message)
        else:
            await self.inner({**scope, "user": user}, receive, send)


def _is_own_origin(scope: Scope) -> bool:
    origin = _header(scope, b"origin")
    if origin is None:
        return True
    host = urlsplit(origin).hostname
    return host is not None and validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS)


def _token(scope: Scope) -> str:
    offered = scope.get("subprotocols", [])
    if len(offered) == 2 and offered[0] == PROTOCOL:
        return str(offered[1])
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope.get("headers", []):
        if key == name:
            return str(value.decode("latin-1"))
    return None


async def _accept_and_close(scope: Scope, receive: Receive, send: Send, code: int, reason: str) -> None:
    await receive()
    offered = PROTOCOL if PROTOCOL in scope.get("subprotocols", []) else None
    await send({"type": "websocket.accept", "subprotocol": offered})
    await send({"type": "websocket.close", "code": code, "reason": reason})
