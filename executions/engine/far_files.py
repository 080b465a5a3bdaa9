"""Files of the workspace for a block in a process of its own: it asks whoever looks after it, by their connection.

A request is `F` and JSON: `{"read": uri}`, or `{"store": name, "media_type", "part"}`, after which the content follows
as a message of its own. The answer is JSON: `{"error": text}`, `{"uri"}`, or `{"name", "media_type"}`, after which the
content follows.
"""

import threading
from multiprocessing.connection import Connection
from typing import Any

from core import json
from executions.engine.emissions import explain
from graphs.blocks.base import BlockError, Context
from graphs.blocks.files import MAX_BYTES, File, read_file, store_file

FILE = b"F"


class Line:
    """The block's end of the connection, for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._saying = threading.Lock()
        self._asking = threading.Lock()

    def say(self, *messages: bytes) -> None:
        """Send messages, one right after the other; waits while nobody takes them."""
        with self._saying:
            for message in messages:
                self._connection.send_bytes(message)

    def ask(self, request: dict[str, Any], *more: bytes) -> tuple[dict[str, Any], bytes]:
        """What the other end answers, and the content that follows, if one does; raises `BlockError`."""
        with self._asking:
            self.say(FILE + json.encode(request), *more)
            answer = json.decode(self._connection.recv_bytes())
            if "error" in answer:
                raise BlockError(answer["error"])
            return answer, self._connection.recv_bytes() if "media_type" in answer else b""


class FarFiles:
    """The workspace as the block's process sees it; it is that of the run's user, whatever the block says."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def read(self, uri: str, context: Context, most_bytes: int) -> File:
        """The file that the URI names; raises `BlockError`."""
        about, content = self._line.ask({"read": uri})
        return File(content, about["media_type"], about["name"])

    def store(self, file: File, context: Context, part: str) -> str:
        """Keep a file, and return its URI; raises `BlockError`."""
        if len(file.content) > MAX_BYTES:
            raise BlockError(
                f"A file has {len(file.content):,} bytes, more than the {MAX_BYTES:,} that a block stores here"
            )
        about = {"store": file.name, "media_type": file.media_type, "part": part}
        answer, _ = self._line.ask(about, file.content)
        return str(answer["uri"])


def serve(inbox: Connection, request: bytes, context: Context) -> None:
    """Answer a request of a block that runs with this context; raises `OSError` when its process does not listen."""
    asked = json.decode(request[len(FILE) :])
    content = b"" if "read" in asked else inbox.recv_bytes(MAX_BYTES)
    for message in _answer(asked, content, context):
        inbox.send_bytes(message)


def _answer(asked: dict[str, Any], content: bytes, context: Context) -> list[bytes]:
    try:
        if "read" in asked:
            file = read_file(asked["read"], context)
            return [json.encode({"name": file.name, "media_type": file.media_type}), file.content]
        file = File(content, asked["media_type"], asked["store"])
        return [json.encode({"uri": store_file(file, context, asked["part"])})]
    # Whatever happens to the database or the storage is the node's failure, as in a worker.
    except Exception as error:
        return [json.encode({"error": explain(error)})]
