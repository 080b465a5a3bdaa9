"""The WebSocket: watchers subscribe to runs and graphs and are sent what happens, as docs/sockets.md describes.

What is sent is read from rows; a hint from the channel layer only says that there is something to read. Hints that
get lost are made up for by the lookout.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast
from uuid import UUID

from django.db import Error as DatabaseError

from accounts.models import User
from core import strict_json
from core.errors import Conflict, DomainError, Invalid, Unavailable
from core.listening import Listener, listening
from core.sockets import TRY_AGAIN_LATER, Receive, Scope, Send, accept_and_close, protocol_of
from executions import events
from executions.watching.feeds import RunFeed, run_channel
from executions.watching.graph_feed import GraphFeed
from executions.watching.lookout import lookout_of
from executions.watching.messages import message_text
from executions.watching.subscriptions import Subscription

log = logging.getLogger(__name__)

MAX_MESSAGE = 64 * 1024
MAX_SUBSCRIPTIONS = 50
# Messages that a client may send at once, and per second in the long run.
BURST = 200
RATE = 20.0
SEND_SECONDS = 30.0
ABUSE = 4008


class MessageInvalid(Invalid):
    """The message does not have the shape of its method."""


class TooManySubscriptions(Conflict):
    """This socket has as many subscriptions as it may have."""


async def consume(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one socket to its end; without a channel layer to listen to, it is closed with 1013."""
    async with AsyncExitStack() as stack:
        try:
            listener = await stack.enter_async_context(listening())
        except Unavailable as error:
            log.error("%s", error)
            await accept_and_close(scope, receive, send, TRY_AGAIN_LATER, "Messages cannot be delivered at the moment")
        else:
            await RunsConsumer(scope, receive, send, listener).serve()


class RunsConsumer:
    """One socket of one user."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, listener: Listener) -> None:
        self._user = cast(User, scope["user"])
        self._protocol = protocol_of(scope)
        self._receive = receive
        self._emit = send
        self._listener = listener
        self._lookout = lookout_of(listener)
        self._group = events.group(self._user.pk)
        self._subscriptions: dict[str, Subscription] = {}
        self._sending = asyncio.Lock()
        self._is_closed = False
        self._allowance, self._counted_at = float(BURST), time.monotonic()

    async def serve(self) -> None:
        """Accept, for who the user is was settled before; answer every message, and leave nothing behind."""
        await self._receive()
        await self._emit({"type": "websocket.accept", "subprotocol": self._protocol})
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                await self._take(message.get("text"), message.get("bytes"))
        finally:
            self._is_closed = True
            for channel in list(self._subscriptions):
                await self._end(channel)

    async def _take(self, text: str | None, binary: bytes | None) -> None:
        """Answer one message; what is wrong with it is told, and the socket stays."""
        if self._is_closed:
            return
        if not self._may_speak():
            await self._refuse("Too many messages")
            return
        method: str | None = None
        try:
            method, data = _envelope(text, binary)
            answer = self._answer_to(method)
            await answer(data)
        except DomainError as error:
            await self._complain(method, error)
        except DatabaseError as error:
            log.error("The database does not answer: %s", error)
            await self._complain(method, Unavailable("The database does not answer; try again in a moment"))

    # Methods of clients

    def _answer_to(self, method: str) -> Callable[[Any], Awaitable[None]]:
        answers = {
            "subscribe_graph_execution": self._subscribe_to_run,
            "subscribe_graph_executions": self._subscribe_to_graph,
            "subscribe_all_executions": self._subscribe_to_all,
            "unsubscribe": self._unsubscribe,
            "heartbeat": self._heartbeat,
        }
        if method not in answers:
            raise MessageInvalid(f"Clients send one of the methods {', '.join(answers)}, not {method[:60]!r}")
        return answers[method]

    async def _subscribe_to_run(self, data: Any) -> None:
        feed = RunFeed(self._user, _id(data, "graph_exec_id"), _after_seq(data))
        await self._subscribe("subscribe_graph_execution", feed)

    async def _subscribe_to_graph(self, data: Any) -> None:
        await self._subscribe("subscribe_graph_executions", GraphFeed(self._user, _id(data, "graph_id")))

    async def _subscribe_to_all(self, data: Any) -> None:
        await self._subscribe("subscribe_all_executions", GraphFeed(self._user, None))

    async def _unsubscribe(self, data: Any) -> None:
        """Leave a run, or whatever has the channel."""
        channel = data.get("channel") if isinstance(data, dict) else None
        if not isinstance(channel, str):
            channel = run_channel(self._user.pk, _id(data, "graph_exec_id"))
        was_subscribed = await self._end(channel)
        await self._reply("unsubscribe", success=True, channel=channel if was_subscribed else None)

    async def _heartbeat(self, data: Any) -> None:
        await self._reply("heartbeat", data="pong", success=True)

    # Subscriptions

    async def _subscribe(self, method: str, feed: RunFeed | GraphFeed) -> None:
        """Begin to watch; a subscription to the same begins anew."""
        channel = feed.channel
        if channel not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptions(f"A socket may have {MAX_SUBSCRIPTIONS} subscriptions: unsubscribe from another")
        await self._end(channel)
        subscription = Subscription(feed, self._send)
        # Before it is read: what happens between reading and listening would be noticed late.
        await self._listener.listen(self._group, feed.topic, subscription.hear)
        try:
            snapshot = await feed.open()
        except BaseException:
            await self._listener.leave(self._group, feed.topic, subscription.hear)
            raise
        self._subscriptions[channel] = subscription
        self._lookout.add(subscription)
        await self._reply(method, success=True, channel=channel)
        subscription.start(snapshot)

    async def _end(self, channel: str) -> bool:
        """Stop a subscription; whether there was one."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is None:
            return False
        self._lookout.remove(subscription)
        await subscription.stop()
        await self._listener.leave(self._group, subscription.feed.topic, subscription.hear)
        return True

    # Sending

    async def _reply(self, method: str, **parts: Any) -> None:
        await self._send(message_text(method, **parts))

    async def _complain(self, method: str | None, error: DomainError) -> None:
        about = {"method": method, "code": error.code}
        await self._reply("error", success=False, error=error.message, data=about)

    async def _send(self, text: str) -> None:
        """Send, waiting for a slow client as long as is decent: one that takes nothing is let go."""
        if self._is_closed:
            return
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._emit({"type": "websocket.send", "text": text})
            except TimeoutError:
                self._is_closed = True
        if self._is_closed:
            await self._refuse("The client does not read")

    async def _refuse(self, reason: str) -> None:
        """Close from this side; whatever still arrives is ignored."""
        self._is_closed = True
        await self._emit({"type": "websocket.close", "code": ABUSE, "reason": reason})

    def _may_speak(self) -> bool:
        """Whether the client keeps to the rate of messages."""
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * RATE)
        self._counted_at = now
        self._allowance -= 1
        return self._allowance >= 0


def _envelope(text: str | None, binary: bytes | None) -> tuple[str, Any]:
    """The method and the data of a message."""
    raw = text.encode("utf-8", "surrogatepass") if text is not None else binary or b""
    if len(raw) > MAX_MESSAGE:
        raise MessageInvalid(f"A message may have up to {MAX_MESSAGE // 1024} KB")
    envelope = strict_json.parse(raw)
    if not isinstance(envelope, dict) or not isinstance(envelope.get("method"), str):
        raise MessageInvalid('A message is an object with a "method", such as {"method": "heartbeat"}')
    return envelope["method"], envelope.get("data")


def _id(data: Any, name: str) -> UUID:
    value = data.get(name) if isinstance(data, dict) else None
    try:
        return UUID(value) if isinstance(value, str) else _missing(name)
    except ValueError:
        raise MessageInvalid(f'"{name}" must be an id such as 0190f3a1-7c1e-7000-8000-000000000000') from None


def _missing(name: str) -> UUID:
    raise MessageInvalid(f'"data" must be an object with "{name}"')


def _after_seq(data: dict[str, Any]) -> int | None:
    value = data.get("after_seq")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63):
        return value
    raise MessageInvalid('"after_seq" must be the number of the last event you have, 0 for none')
