"""The user behind a WebSocket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from accounts import services, tickets
from accounts.errors import IdentityProviderUnavailable, TokenRefused, TokenWithoutSubject
from accounts.open_sessions import while_it_lasts
from accounts.services import Session
from core.origins import may_connect
from core.sockets import TRY_AGAIN_LATER, Message, Receive, Scope, Send, accept_and_close

NO_TOKEN = 4001
TOKEN_WITHOUT_SUBJECT = 4002
TOKEN_REFUSED = 4003

log = logging.getLogger(__name__)

Application = Callable[..., Awaitable[None]]


class TokenAuth:
    """ASGI middleware that puts who opens a socket into `scope["user"]`.

    A one-time ticket comes as the second of the subprotocols `ticket, <ticket>` or as `?ticket=`, an access token as
    the second of `bearer, <token>` or as `?token=`. A socket without a good one is accepted and closed with 4001
    (nothing), 4002 (the token names nobody) or 4003 (refused, or over in the meantime). A page of another site is
    refused in the handshake unless the settings list the site; programs that are no browsers send no Origin and pass.
    """

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the socket in, or close it."""
        if not _is_own_origin(scope):
            await receive()
            await send({"type": "websocket.close"})
            return
        ticket, token = _offered(scope, "ticket", "ticket"), _offered(scope, "bearer", "token")
        if not ticket and not token:
            await accept_and_close(scope, receive, send, NO_TOKEN, "There is no token")
            return
        try:
            session = await database_sync_to_async(_session_of)(ticket, token)
        except TokenWithoutSubject as error:
            await accept_and_close(scope, receive, send, TOKEN_WITHOUT_SUBJECT, error.message)
        except TokenRefused as error:
            await accept_and_close(scope, receive, send, TOKEN_REFUSED, error.message)
        except IdentityProviderUnavailable as error:
            await accept_and_close(scope, receive, send, TRY_AGAIN_LATER, error.message)
        except DatabaseError as error:
            log.error("The database does not answer: %s", error)
            await accept_and_close(scope, receive, send, TRY_AGAIN_LATER, "The database does not answer")
        else:
            socket = _Ending(receive, send)
            with while_it_lasts(session, socket.end):
                await self.inner({**scope, "user": session.user}, socket.receive, socket.send)


class _Ending:
    """A socket that can be ended from outside; to the application behind, the client is gone then."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._reason = ""
        self._waiting: asyncio.Timeout | None = None

    def end(self, reason: str) -> None:
        """Close the socket, telling the client why."""
        self._reason = self._reason or reason
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())
            self._waiting = None

    async def receive(self) -> Message:
        """What the client sends next, or that it is gone."""
        if not self._reason:
            try:
                async with asyncio.timeout(None) as self._waiting:
                    return await self._receive()
            except TimeoutError:
                pass
            finally:
                self._waiting = None
        await self._send({"type": "websocket.close", "code": TOKEN_REFUSED, "reason": self._reason})
        return {"type": "websocket.disconnect", "code": TOKEN_REFUSED}

    async def send(self, message: Message) -> None:
        """Send, unless the socket was ended: what is on its way then comes too late."""
        if not self._reason:
            await self._send(message)


def _session_of(ticket: str, token: str) -> Session:
    return tickets.redeem(ticket) if ticket else services.session_of(token)


def _is_own_origin(scope: Scope) -> bool:
    """Whether the page is of this site, or of one that may use it."""
    origin = _header(scope, b"origin")
    return origin is None or may_connect(origin)


def _offered(scope: Scope, protocol: str, parameter: str) -> str:
    """What a socket brings behind a subprotocol, or as a parameter of its address; empty when it brings none."""
    protocols = scope.get("subprotocols", [])
    if len(protocols) == 2 and protocols[0] == protocol:
        return str(protocols[1])
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(parameter, [""])[0]


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope.get("headers", []):
        if key == name:
            return str(value.decode("latin-1"))
    return None
