"""Ending a WebSocket so that its client learns why."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

# What a client offers beside its token or ticket; a browser wants it confirmed.
PROTOCOLS = ("bearer", "ticket")

TRY_AGAIN_LATER = 1013

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def accept_and_close(scope: Scope, receive: Receive, send: Send, code: int, reason: str) -> None:
    """Take a socket only to close it: a browser shows its page no code of a handshake that failed."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": protocol_of(scope)})
    await send({"type": "websocket.close", "code": code, "reason": reason})


def protocol_of(scope: Mapping[str, Any]) -> str | None:
    """The subprotocol to accept a socket with."""
    return next((offered for offered in scope.get("subprotocols", []) if offered in PROTOCOLS), None)
