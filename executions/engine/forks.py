"""The processes of isolated blocks, as whoever has them run sees them."""

import logging
import pickle
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Self

from executions.engine.node_process import Order

log = logging.getLogger(__name__)

# How long to wait for the word of how a process ended.
STATUS_SECONDS = 1.0


class NodeProcess:
    """A process that runs the block which `order` names. Leaving it ends the process, whatever it does."""

    def __init__(self, order: Order, server: "ForkServer") -> None:
        self.inbox, work = Pipe()
        self.status, status = socket.socketpair()
        self.status.settimeout(STATUS_SECONDS)
        with work:
            server.fork(work, status)
            with suppress(BrokenPipeError):
                self.inbox.send_bytes(pickle.dumps(order))

    def death(self) -> str:
        """How the process ended, which it has or is about to."""
        try:
            code = int(self.status.recv(10) or 0)
        except TimeoutError:
            return "it closed its connection"
        return f"signal {-code}, {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.inbox.close()
        self.status.close()


class ForkServer:
    """The process that others are forked from: started when it is first needed, and again should it be gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, work: Connection, status: socket.socket) -> None:
        """Have a process forked that is reached through these ends; `status` belongs to it from now on."""
        with self._lock, status:
            descriptors = [work.fileno(), status.fileno()]
            if self._requests is not None:
                try:
                    socket.send_fds(self._requests, [b"."], descriptors)
                    return
                except OSError as error:
                    log.warning("The server of isolated blocks is gone: %s", error)
                    self._end()
            socket.send_fds(self._start(), [b"."], descriptors)

    def close(self) -> None:
        """End the server, and with it what it has forked."""
        with self._lock:
            self._end()

    def _start(self) -> socket.socket:
        self._requests, other = socket.socketpair()
        with other:
            command = [sys.executable, "-P", "-m", "executions.engine.node_server"]
            # In a session of its own: Ctrl-C is for this process, which lets go in order.
            self._process = subprocess.Popen(command, stdin=other.fileno(), start_new_session=True)  # noqa: S603  our own
        return self._requests

    def _end(self) -> None:
        if self._requests is not None and self._process is not None:
            self._requests.close()
            self._process.wait()
        self._requests = self._process = None
