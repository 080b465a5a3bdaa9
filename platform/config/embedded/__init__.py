"""Postgres and Valkey from wheels: the default when no DATABASE_URL or REDIS_URL is set."""

import os
from pathlib import Path
from typing import Self, TextIO

from config.embedded import folders
from config.embedded.errors import AlreadyRunning, CannotStart
from config.embedded.paths import socket_folder
from config.embedded.postgres import Postgres
from config.embedded.valkey import Valkey

__all__ = ["AlreadyRunning", "CannotStart", "Embedded", "is_running"]


class Embedded:
    """The embedded services of one home folder: a context manager, or `start` and `stop`.

    Either can be left out when the environment names a server to use instead. Children of this process, in
    sessions of their own; when it is killed outright they end by themselves, in order and without loss.
    """

    def __init__(self, home: Path, *, postgres: bool = True, valkey: bool = True, durable: bool = True) -> None:
        self._home = home
        self._lock: TextIO | None = None
        self._services: list[tuple[str, Postgres | Valkey]] = []
        if postgres:
            self._services.append(("Postgres", Postgres(home, durable=durable)))
        if valkey:
            self._services.append(("Valkey", Valkey(home, durable=durable)))

    def start(self) -> None:
        """Start what was asked for and return when it answers.

        Raises `AlreadyRunning` when another process has this home, `CannotStart` when a service does not come up;
        nothing is left running then.
        """
        self._lock = folders.lock(self._home)
        try:
            if not any(isinstance(service, Postgres) for _, service in self._services):
                folders.make_private(socket_folder(self._home), owner=os.geteuid())
            for _, service in self._services:
                service.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop in the reverse order, losing nothing; may be called twice."""
        for _, service in reversed(self._services):
            service.stop()
        if self._lock is not None:
            self._lock.close()

    def ended(self) -> str | None:
        """The name of a service that ended although nobody stopped it; None while all is well."""
        return next((name for name, service in self._services if service.exit_code is not None), None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def is_running(home: Path) -> bool:
    """Whether some process has started the embedded services of `home`."""
    return folders.is_locked(home)
