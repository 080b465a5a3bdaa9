"""A clamd on the loopback address that speaks INSTREAM, and finds the word INFECTED."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STREAM_LIMIT = 100_000


@dataclass
class Scanner:
    """Where it listens, and what it was sent. `reply` replaces its answer; an empty one is silence and the end."""

    url: str
    reply: bytes | None = None
    streams: list[bytes] = field(default_factory=list)


@contextmanager
def a_scanner(family: socket.AddressFamily = socket.AF_INET, path: str = "") -> Iterator[Scanner]:
    """A scanner for as long as the block lasts, at a port of its own or at the path of a socket."""
    listener = socket.socket(family)
    listener.bind(path or ("127.0.0.1", 0))
    listener.listen()
    scanner = Scanner(f"unix://{path}" if path else f"tcp://127.0.0.1:{listener.getsockname()[1]}")
    thread = threading.Thread(target=_serve, args=(listener, scanner))
    thread.start()
    try:
        yield scanner
    finally:
        # A thread that waits in accept does not hear of a close.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def _serve(listener: socket.socket, scanner: Scanner) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as incoming:
            if incoming.read(10) != b"zINSTREAM\0":
                connection.sendall(b"UNKNOWN COMMAND\0")
                continue
            content = b""
            while (length := struct.unpack("!I", incoming.read(4))[0]) and len(content) <= STREAM_LIMIT:
                content += incoming.read(length)
            scanner.streams.append(content)
            connection.sendall(_verdict(content) if scanner.reply is None else scanner.reply)


def _verdict(content: bytes) -> bytes:
    if len(content) > STREAM_LIMIT:
        return b"INSTREAM size limit exceeded. ERROR\0"
    return b"stream: Test.Word FOUND\0" if b"INFECTED" in content else b"stream: OK\0"
