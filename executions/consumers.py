"""The WebSocket: watchers subscribe to runs and graphs and are sent what happens, as docs/sockets.md describes.

What is sent is read from rows; a hint from the channel layer only says that there is something to read. Hints that
get lost are made up for by a look every few seconds.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast
from uuid import UUID

import orjson
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError

from accounts.models import User
from core import strict_json
from core.errors import Conflict, DomainError, Invalid, Unavailable
from core.sockets import TRY_AGAIN_LATER, accept_and_close, protocol_of
from executions import events
from executions.feeds import NODE_EVENT, RUN_EVENT, RunFeed
from executions.graph_feed import GraphFeed
from executions.models import GraphExecution
from executions.reading import Wire
from executions.subscriptions import Subscription, reading

log = logging.getLogger(__name__)

MAX_MESSAGE = 64 * 1024
MAX_SUBSCRIPTIONS = 50
# Messages that a client may send at once, and per second in the long run.
BURST = 200
RATE = 20.0
SEND_SECONDS = 30.0
LOOK_SECONDS = 10.0
# The runs of a graph hint at every commit; their statuses change less often.
GRAPH_PAUSE = 0.2
ABUSE = 4008

_METHOD_OF = {RUN_EVENT: "graph_execution_event", NODE_EVENT: "node_execution_event"}


class MessageInvalid(Invalid):
    """The message does not have the shape of its method."""


class TooManySubscriptions(Conflict):
    """This socket has as many subscriptions as it may have."""


class RunsConsumer(AsyncWebsocketConsumer):
    """One socket of one user."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket to its end; without a channel layer to listen to, it is closed with 1013."""
        try:
            await super().__call__(scope, receive, send)
        # The layer is asked for a channel before anything else. It may fail with whatever its client library raises.
        except Exception as error:
            if hasattr(self, "channel_name"):
                raise
            log.error("The channel layer does not answer: %s", error)
            await accept_and_close(scope, receive, send, TRY_AGAIN_LATER, "Messages cannot be delivered at the moment")

    async def connect(self) -> None:
        """Accept; who the user is was settled before."""
        self._user = cast(User, self.scope["user"])
        self._subscriptions: dict[str, Subscription] = {}
        self._sending = asyncio.Lock()
        self._is_closed = False
        self._allowance, self._counted_at = float(BURST), time.monotonic()
        await self.accept(protocol_of(self.scope))
        self._caretaker = asyncio.create_task(self._look_after())

    async def disconnect(self, code: int) -> None:
        """Leave nothing behind."""
        self._is_closed = True
        self._caretaker.cancel()
        await asyncio.gather(self._caretaker, return_exceptions=True)
        for channel in list(self._subscriptions):
            await self._end(channel)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer one message; what is wrong with it is told, and the socket stays."""
        if self._is_closed:
            return
        if not self._may_speak():
            await self._refuse("Too many messages")
            return
        method: str | None = None
        try:
            method, data = _envelope(text_data, bytes_data)
            answer = self._answer_to(method)
            await answer(data)
        except DomainError as error:
            await self._complain(method, error)
        except DatabaseError as error:
            log.error("The database does not answer: %s", error)
            await self._complain(method, Unavailable("The database does not answer; try again in a moment"))

    async def run_changed(self, hint: dict[str, Any]) -> None:
        """The channel layer says that a run has new events."""
        for subscription in self._subscriptions.values():
            if isinstance(subscription.feed, GraphFeed) or subscription.group == events.run_group(hint["run_id"]):
                subscription.look()

    # Methods of clients

    def _answer_to(self, method: str) -> Callable[[Any], Awaitable[None]]:
        answers = {
            "subscribe_graph_execution": self._subscribe_to_run,
            "subscribe_graph_executions": self._subscribe_to_graph,
            "unsubscribe": self._unsubscribe,
            "heartbeat": self._heartbeat,
        }
        if method not in answers:
            raise MessageInvalid(f"Clients send one of the methods {', '.join(answers)}, not {method[:60]!r}")
        return answers[method]

    async def _subscribe_to_run(self, data: Any) -> None:
        run_id, after_seq = _id(data, "graph_exec_id"), _after_seq(data)
        await self._subscribe(
            "subscribe_graph_execution",
            RunFeed(self._user, run_id, after_seq),
            channel=self._run_channel(run_id),
            group=events.run_group(run_id),
        )

    async def _subscribe_to_graph(self, data: Any) -> None:
        graph_id = _id(data, "graph_id")
        await self._subscribe(
            "subscribe_graph_executions",
            GraphFeed(self._user, graph_id),
            channel=f"{self._user.pk}|graph#{graph_id}|executions",
            group=events.graph_group(self._user.pk, graph_id),
            pause=GRAPH_PAUSE,
        )

    async def _unsubscribe(self, data: Any) -> None:
        channel = self._run_channel(_id(data, "graph_exec_id"))
        was_subscribed = await self._end(channel)
        await self._reply("unsubscribe", success=True, channel=channel if was_subscribed else None)

    async def _heartbeat(self, data: Any) -> None:
        await self._reply("heartbeat", data="pong", success=True)

    def _run_channel(self, run_id: UUID) -> str:
        return f"{self._user.pk}|graph_exec#{run_id}"

    # Subscriptions

    async def _subscribe(
        self, method: str, feed: RunFeed | GraphFeed, *, channel: str, group: str, pause: float = 0.0
    ) -> None:
        """Begin to watch; a subscription to the same begins anew."""
        if channel not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptions(f"A socket may have {MAX_SUBSCRIPTIONS} subscriptions: unsubscribe from another")
        await self._end(channel)
        subscription = Subscription(feed, partial(self._send_event, channel), channel=channel, group=group, pause=pause)
        # Joined first: what happens between reading and joining would be noticed late.
        await self._join(subscription)
        try:
            snapshot = await reading(feed.open)()
        except BaseException:
            await self._leave(subscription)
            raise
        self._subscriptions[channel] = subscription
        await self._reply(method, success=True, channel=channel)
        subscription.start(snapshot)

    async def _end(self, channel: str) -> bool:
        """Stop a subscription; whether there was one."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is None:
            return False
        await subscription.stop()
        await self._leave(subscription)
        return True

    async def _join(self, subscription: Subscription) -> None:
        try:
            await self.channel_layer.group_add(subscription.group, self.channel_name)
            subscription.has_joined = True
        # Any failure of the layer: until it is back, the look every few seconds has to do.
        except Exception as error:
            log.warning("The channel layer did not take a socket into %s: %s", subscription.group, error)

    async def _leave(self, subscription: Subscription) -> None:
        try:
            await self.channel_layer.group_discard(subscription.group, self.channel_name)
        # As above; the layer forgets the socket when it ends.
        except Exception as error:
            log.warning("The channel layer did not let a socket out of %s: %s", subscription.group, error)

    async def _look_after(self) -> None:
        """Notice what no hint told."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            subscriptions = list(self._subscriptions.values())
            for subscription in subscriptions:
                if not subscription.has_joined:
                    await self._join(subscription)
            try:
                await self._look(subscriptions)
            except DatabaseError as error:
                log.warning("The heads of the watched runs could not be read: %s", error)

    async def _look(self, subscriptions: list[Subscription]) -> None:
        open_runs = [s.feed.run_id for s in subscriptions if isinstance(s.feed, RunFeed) and not s.feed.is_over]
        heads = await reading(_heads)(open_runs) if open_runs else {}
        for subscription in subscriptions:
            feed = subscription.feed
            if isinstance(feed, GraphFeed) or (isinstance(feed, RunFeed) and heads.get(feed.run_id, 0) > feed.seq):
                subscription.look()

    # Sending

    async def _send_event(self, channel: str, event: Wire) -> None:
        await self._send({"method": _METHOD_OF[event["event_type"]], "channel": channel, "data": event})

    async def _reply(self, method: str, **parts: Any) -> None:
        await self._send({"method": method, **parts})

    async def _complain(self, method: str | None, error: DomainError) -> None:
        await self._send(
            {
                "method": "error",
                "success": False,
                "error": error.message,
                "data": {"method": method, "code": error.code},
            }
        )

    async def _send(self, message: Wire) -> None:
        """Send, waiting for a slow client as long as is decent: one that takes nothing is let go."""
        if self._is_closed:
            return
        text = _text(message)
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self.send(text)
            except TimeoutError:
                self._is_closed = True
        if self._is_closed:
            await self._refuse("The client does not read")

    async def _refuse(self, reason: str) -> None:
        """Close from this side; whatever still arrives is ignored."""
        self._is_closed = True
        await self.close(ABUSE, reason)

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


def _heads(run_ids: list[UUID]) -> dict[UUID, int]:
    return dict(GraphExecution.objects.filter(pk__in=run_ids).values_list("pk", "head_seq"))


def _text(message: Wire) -> str:
    try:
        return orjson.dumps(message).decode()
    except orjson.JSONEncodeError:
        # Integers of more than 64 bits.
        return json.dumps(message, ensure_ascii=False)
