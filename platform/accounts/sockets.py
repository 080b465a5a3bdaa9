"""The user behind a WebSocket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.http.request import validate_host

from accounts import services
from accounts.errors import TokenRefused, TokenWithoutSubject
from core.sockets import PROTOCOL, TRY_AGAIN_LATER, Message, Receive, Scope, Send, accept_and_close

NO_TOKEN = 4001
TOKEN_WITHOUT_SUBJECT = 4002
TOKEN_REFUSED = 4003

log = logging.getLogger(__name__)

Application = Callable[..., Awaitable[None]]


class TokenAuth:
    """ASGI middleware that puts the token's owner into `scope["user"]`.

    The access token comes as `?token=` or, so that it stays out of URLs and logs, as the second of the subprotocols
    `bearer, <token>`. A socket without a good one is accepted and closed with 4001 (no token), 4002 (the token names
    nobody) or 4003 (refused, or expired in the meantime). A page of another site is refused in the handshake; programs
    that are no browsers send no Origin and pass.
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
            await accept_and_close(scope, receive, send, NO_TOKEN, "There is no token")
            return
        try:
            session = await database_sync_to_async(services.session_of)(token)
        except TokenWithoutSubject as error:
            await accept_and_close(scope, receive, send, TOKEN_WITHOUT_SUBJECT, error.message)
        except TokenRefused as error:
            await accept_and_close(scope, receive, send, TOKEN_REFUSED, error.message)
        except DatabaseError as error:
            log.error("The database does not answer: %s", error)
            await accept_and_close(scope, receive, send, TRY_AGAIN_LATER, "The database does not answer")
        else:
            socket = _Expiring(receive, send, session.until)
            await self.inner({**scope, "user": session.user}, socket.receive, socket.send)


class _Expiring:
    """A socket that is closed when its token expires; to the application behind, the client is gone then."""

    def __init__(self, receive: Receive, send: Send, until: datetime) -> None:
        self._receive = receive
        self._send = send
        self._ends_at = asyncio.get_running_loop().time() + (until - datetime.now(UTC)).total_seconds()
        self._is_over = False

    async def receive(self) -> Message:
        """What the client sends next, or that it is gone."""
        try:
            async with asyncio.timeout_at(self._ends_at):
                return await self._receive()
        except TimeoutError:
            self._is_over = True
            await self._send({"type": "websocket.close", "code": TOKEN_REFUSED, "reason": "The token has expired"})
            return {"type": "websocket.disconnect", "code": TOKEN_REFUSED}

    async def send(self, message: Message) -> None:
        """Send, unless the token has expired: what is on its way then comes too late."""
        if not self._is_over:
            await self._send(message)


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
