"""The server that the processes of isolated blocks are forked from, for a fork takes milliseconds and a start does not.

`python -m executions.engine.node_server` loads every block, and for each pair of sockets that arrives on its standard
input forks two processes: one that runs a block, and one that watches it. The watcher says on the second socket how the
process ended, and kills it, and what it has started, as soon as the other end of that socket is closed.
"""

import contextlib
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from executions.engine.node_process import run_node
from graphs.blocks.registry import BLOCKS


def serve(requests: socket.socket) -> None:
    """Fork until the other end of `requests` is closed."""
    BLOCKS.all()
    # Nobody waits for the watchers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, sockets, _, _ = socket.recv_fds(requests, 1, 2)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _leave_after(_watch, *sockets)
        for descriptor in sockets:
            os.close(descriptor)


def _watch(work: int, status: int) -> None:
    # A pipe that is closed when the block's process ends would not do: what the block starts may keep it open.
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in (status, bell, ring):
            os.close(descriptor)
        _leave_after(run_node, Connection(work))
    os.close(work)
    if bell not in select.select([bell, status], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    _, code = os.waitpid(pid, 0)
    # What the block started, if it is still there.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(BrokenPipeError):
        os.write(status, str(os.waitstatus_to_exitcode(code)).encode())


def _leave_after(work: Callable[..., None], *arguments: Any) -> NoReturn:
    """Do the work of a process that was forked, and end it."""
    try:
        work(*arguments)
        os._exit(0)
    # A process that went on from here would take itself for the server.
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=0))
