"""Postgres, Valkey and workers that a round strikes: started here, watched here, and struck by their process ids."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import redis
from django.db import InterfaceError, OperationalError, connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import processes
from config.embedded.paths import socket_folder
from config.embedded.postgres import Postgres
from config.embedded.valkey import Valkey
from tests.waiting import wait_until
from tests.workers import command, environment

LEASE_SECONDS = 3
SWEEP_SECONDS = 1
# A worker that was told to stop gives blocks 10 s; the documentation says to insist after 20.
STOP_SECONDS = 20
_Answer = TypeVar("_Answer")


def persistently(ask: Callable[[], _Answer], seconds: float = 60) -> _Answer:
    """Ask Postgres until it answers: it may be starting, or the connection may have been cut."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Servers:
    """Postgres, as durable as in production, and Valkey, which forgets everything when it is restarted."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._postgres = Postgres(home, durable=True)
        self._valkey = Valkey(home, durable=False)

    def start(self) -> None:
        """Start both and return when they answer."""
        self._postgres.start()
        self._valkey.start()

    def stop(self) -> None:
        """Stop both in order."""
        self._valkey.stop()
        self._postgres.stop()

    def crash_postgres(self) -> None:
        """Restart Postgres as `pg_ctl -m immediate` does: nothing is written down before, the log is replayed after."""
        pid = int((self._home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: self._postgres.exit_code is not None)
        self._postgres.start()

    def restart_valkey(self) -> None:
        """Restart Valkey, which loses all that was in it."""
        self._valkey.stop()
        self._valkey.start()

    def cut_backends(self) -> None:
        """End every connection to Postgres but the asking one."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )

    def valkey(self) -> redis.Redis:
        """A client of Valkey."""
        path = socket_folder(self._home) / "valkey.sock"
        return redis.Redis(unix_socket_path=str(path), socket_timeout=5, retry=Retry(NoBackoff(), 1))

    def waiting_workers(self) -> int:
        """How many connections wait at the queues for a doorbell: one for each worker that is not deaf."""
        return sum(client["cmd"] == "brpop" for client in self.valkey().client_list())


class Worker:
    """One worker process, started again whenever it ends."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.troubles: list[str] = []
        self.log = folder / f"{name}.log"
        self._wakes_at: float | None = None
        self._stops_by: float | None = None
        self._was_killed = False
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    @property
    def is_free(self) -> bool:
        """Whether nothing is being done to it."""
        return self._wakes_at is None and self._stops_by is None and self._process.poll() is None

    def kill(self) -> None:
        """End it at once."""
        self._was_killed = True
        self._process.kill()
        self._process.wait(10)

    def halt(self, seconds: float) -> None:
        """Let it do nothing for so long; it does not notice."""
        self._process.send_signal(signal.SIGSTOP)
        self._wakes_at = time.monotonic() + seconds

    def drain(self) -> None:
        """Tell it to stop in order."""
        self._process.send_signal(signal.SIGTERM)
        self._stops_by = time.monotonic() + STOP_SECONDS

    def watch(self) -> None:
        """Wake it when its time has come, insist when it does not stop, and start it again when it has ended."""
        if self._wakes_at is not None and time.monotonic() >= self._wakes_at:
            self.wake()
        if self._stops_by is not None and time.monotonic() >= self._stops_by and self._process.poll() is None:
            self.troubles.append(f"{self.name} ({self.pid}) did not stop within {STOP_SECONDS} s of SIGTERM")
            self.kill()
        if self._process.poll() is not None:
            if self._stops_by is None and not self._was_killed:
                self.troubles.append(f"{self.name} ({self.pid}) ended by itself with {self._process.returncode}")
            self._process = self._start()

    def wake(self) -> None:
        """Let it go on."""
        if self._wakes_at is not None:
            self._process.send_signal(signal.SIGCONT)
            self._wakes_at = None

    def stop(self) -> None:
        """Stop it in order, for good."""
        self.wake()
        if self._process.poll() is None and processes.stop(self._process, patience=STOP_SECONDS) < 0:
            self.troubles.append(f"{self.name} ({self.pid}) ended by a signal when it was told to stop")

    def _start(self) -> "subprocess.Popen[bytes]":
        self._wakes_at, self._stops_by, self._was_killed = None, None, False
        more = {"TASKLOOM_LEASE_SECONDS": str(LEASE_SECONDS), "TASKLOOM_SWEEP_SECONDS": str(SWEEP_SECONDS)}
        with self.log.open("ab") as output:
            output.write(b"--- started ---\n")
            output.flush()
            # Killed with the harness, even while it is halted: nothing is left running.
            return processes.spawn(command(self.name), output=output, env=environment(**more), dies_by=signal.SIGKILL)
