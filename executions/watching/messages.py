"""The messages of the WebSocket as texts, as docs/sockets.md describes them."""

import json
from typing import Any

import orjson

from executions.reading import Wire
from executions.watching.run_events import NODE_EVENT, RUN_EVENT

_METHOD_OF = {RUN_EVENT: "graph_execution_event", NODE_EVENT: "node_execution_event"}


def event_text(channel: str, event: Wire) -> str:
    """The message that bears an event to a subscription."""
    return text_of(_METHOD_OF[event["event_type"]], channel=channel, data=event)


def text_of(method: str, **parts: Any) -> str:
    """A message."""
    message = {"method": method, **parts}
    try:
        return orjson.dumps(message).decode()
    except orjson.JSONEncodeError:
        # Integers of more than 64 bits.
        return json.dumps(message, ensure_ascii=False)
