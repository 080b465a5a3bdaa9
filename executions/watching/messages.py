"""The messages of the WebSocket as texts, as docs/sockets.md describes them."""

import json
from typing import Any

import orjson

from executions.reading import Wire
from executions.watching.run_events import NODE_EVENT, RUN_EVENT

_METHOD_OF = {RUN_EVENT: "graph_execution_event", NODE_EVENT: "node_execution_event"}


def event_text(channel: str, event: Wire) -> str:
    """The message that bears an event to a subscription."""
    return message_text(_METHOD_OF[event["event_type"]], channel=channel, data=event)


def message_text(method: str, **parts: Any) -> str:
    """A message of the method with these further fields, as JSON of any size of number."""
    message = {"method": method, **parts}
    try:
        return orjson.dumps(message).decode()
    except orjson.JSONEncodeError:
        # Integers of more than 64 bits.
        return json.dumps(message, ensure_ascii=False)
