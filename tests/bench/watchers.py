"""Many WebSockets in one process. They note when bytes arrive and read them later, so as not to delay each other."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast
from urllib.parse import quote

import orjson
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import enable_client_permessage_deflate
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

_PATIENCE = 60.0
_AT_ONCE = 10


class Watcher(asyncio.Protocol):
    """One socket; compresses as browsers do."""

    def __init__(self, address: str) -> None:
        # The server's own limit is what matters here.
        self._protocol = ClientProtocol(
            parse_uri(address), extensions=enable_client_permessage_deflate(None), max_size=None
        )
        self._transport: asyncio.WriteTransport | None = None
        self._arrived: list[tuple[float, bytes]] = []
        self._messages: list[tuple[float, dict[str, Any]]] = []
        self._news = asyncio.Event()
        self._defers = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._protocol.send_request(self._protocol.connect())
        self._write()

    def data_received(self, data: bytes) -> None:
        """Note the time; look at it at once only while subscribing."""
        self._arrived.append((time.time(), data))
        if not self._defers:
            self._read()
            self._news.set()

    async def subscribe(self, method: str, **data: Any) -> None:
        """Subscribe and wait for the reply; from then on what arrives is only noted."""
        await self._until(lambda: self._protocol.state.name == "OPEN")
        self._protocol.send_text(orjson.dumps({"method": method, "data": data}))
        self._write()
        await self._until(lambda: any(message["method"] == method for _, message in self._messages))
        self._defers = True

    def messages(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """What arrived, each with its time in seconds since 1970."""
        self._read()
        yield from self._messages

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def _read(self) -> None:
        for at, data in self._arrived:
            self._protocol.receive_data(data)
            self._messages += [
                (at, orjson.loads(frame.data))
                for frame in self._protocol.events_received()
                if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT
            ]
        self._arrived.clear()
        self._write()

    def _write(self) -> None:
        assert self._transport is not None
        for part in self._protocol.data_to_send():
            if part:
                self._transport.write(part)


async def watchers(count: int, *, port: int, token: str) -> Sequence[Watcher]:
    """So many open sockets of whom the token names."""
    loop = asyncio.get_running_loop()
    address = f"ws://127.0.0.1:{port}/ws?token={quote(token)}"
    found: list[Watcher] = []
    for _ in range(count):
        _, watcher = await loop.create_connection(lambda: Watcher(address), "127.0.0.1", port)
        found.append(watcher)
    return found


async def subscribe_all(sockets: Sequence[Watcher], run_ids: Sequence[str]) -> None:
    """Let each socket watch its run, some at a time: how a server stands up to all at once is not measured here."""
    pairs = list(zip(sockets, run_ids, strict=True))
    for start in range(0, len(pairs), _AT_ONCE):
        await asyncio.gather(
            *(
                socket.subscribe("subscribe_graph_execution", graph_exec_id=run_id)
                for socket, run_id in pairs[start : start + _AT_ONCE]
            )
        )
