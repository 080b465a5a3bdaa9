"""The embedded Valkey: broker and channel layer on a Unix socket, with its data in `valkey/` of the home folder."""

import contextlib
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import processes
from config.embedded import binaries
from config.embedded.errors import CannotStart
from config.embedded.paths import socket_folder

_START_SECONDS = 60
_STOP_SECONDS = 30


class Valkey:
    """One server in `home`; `durable=False` keeps nothing, for data that a test throws away."""

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self._data = home / "valkey"
        self._log = home / "logs" / "valkey.log"
        self._socket = socket_folder(home) / "valkey.sock"
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it has read its data; the socket folder exists already.

        Raises `CannotStart`. The caller holds the lock of the home folder.
        """
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._end_leftover()
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "save": "",
            "databases": "64",
            "maxmemory-policy": "noeviction",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with processes.open_log(self._log) as log:
            self._process = processes.spawn([binaries.valkey(), *options], output=log)
        self._wait()

    def stop(self) -> None:
        """Write everything down and end."""
        if self._process is not None:
            processes.stop(self._process, patience=_STOP_SECONDS)
            self._process = None

    @property
    def exit_code(self) -> int | None:
        """None while the server runs."""
        return None if self._process is None else self._process.poll()

    def _end_leftover(self) -> None:
        """A server whose starter was killed: have it write everything down, then take over."""
        deadline = time.monotonic() + _STOP_SECONDS
        while self._answers():
            with contextlib.suppress(redis.RedisError):
                self._client().shutdown()
            if time.monotonic() > deadline:
                raise CannotStart(f"A Valkey of an earlier start does not end. Stop it (socket {self._socket}).")
            time.sleep(0.05)

    def _wait(self) -> None:
        assert self._process is not None  # noqa: S101
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                reason = processes.last_lines(self._log)
                raise CannotStart(f"Valkey ended while starting; {self._log} ends with:\n{reason}")
            if time.monotonic() > deadline:
                self.stop()
                raise CannotStart(f"Valkey does not answer; see {self._log}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return bool(self._client().ping())
        except redis.RedisError:
            return False

    def _client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))
