"""The platform's own processes, each started by the command with which `manage.py up` starts it."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from accounts.models import User
from config import processes
from config.up import children
from config.up.children import Child
from tests.bench.rest import Rest

HOST = "127.0.0.1"
PASSWORD = "bench"
_READY_SECONDS = 60.0


@dataclass
class Installation:
    """Where the web server listens, and the process ids of the workers."""

    port: int = 0
    _web: Child | None = None
    _workers: list[Child] = field(default_factory=list)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    def log_in(self, user: User) -> Rest:
        """A client of the REST interface that speaks for the user."""
        rest = Rest(HOST, self.port)
        rest.log_in(user.email, PASSWORD)
        return rest


@contextmanager
def running(*, workers: int = 2, web: bool = True) -> Iterator[Installation]:
    """Workers and, if wanted, a web server, until the block ends."""
    logs = settings.TASKLOOM_HOME / "logs"
    installation = Installation()
    everything: list[Child] = []
    if web:
        installation.port = a_free_port()
        installation._web = children.web(host=HOST, port=installation.port, logs=logs)
        everything.append(installation._web)
    if workers:
        installation._workers = children.workers(count=workers, logs=logs)
        everything += installation._workers
    try:
        for child in everything:
            child.start()
        if installation._web is not None:
            wait_until_up(installation.port, installation._web.log)
        yield installation
    finally:
        for child in everything:
            child.ask_to_stop()
        for child in everything:
            child.stop()


def somebody(name: str) -> User:
    """A new user, who can log in."""
    return User.objects.create_user(email=f"{name}@example.com", password=PASSWORD)


def wait_until_up(port: int, log: Path, path: str = "/health") -> None:
    """Return once the server answers; raises `TimeoutError` with the end of its log."""
    deadline = time.monotonic() + _READY_SECONDS
    while not Rest(HOST, port).is_up(path):
        if time.monotonic() > deadline:
            raise TimeoutError(f"The web server does not answer:\n{processes.last_lines(log)}")
        time.sleep(0.1)


def a_free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
