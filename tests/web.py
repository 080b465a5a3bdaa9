"""A web server on the loopback address that answers as a test wants and remembers what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What goes back; `raw` replaces the whole message, and None for it means silence."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = b""


@dataclass
class Server:
    """Where it listens, and what it was asked."""

    port: int
    requests: list[Request] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The start of its addresses."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def allowed(self) -> list[str]:
        """Its entry for `HTTP_ALLOW_PRIVATE`."""
        return [f"127.0.0.1:{self.port}"]


@asynccontextmanager
async def a_server(answer: Callable[[Request], Answer], tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server for as long as the block lasts; with `tls` it speaks https."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                request = await _read(reader)
                server.requests.append(request)
                await _write(writer, request, answer(request))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server = Server(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _write(writer: asyncio.StreamWriter, request: Request, answer: Answer) -> None:
    if answer.raw is None:
        await asyncio.sleep(3600)
    elif answer.raw:
        writer.write(answer.raw)
        writer.close()
    else:
        headers = {"content-length": str(len(answer.body)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        body = b"" if request.method == "HEAD" else answer.body
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()
