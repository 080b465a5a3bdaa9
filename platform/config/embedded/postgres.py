"""The embedded Postgres: a real server on a Unix socket, with its data in `postgres/` of the home folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from config import processes
from config.embedded import folders, identity
from config.embedded.errors import CannotStart
from config.embedded.identity import Identity
from config.embedded.paths import socket_folder

# Recovery after a crash reads all that was written since the last checkpoint, which may take minutes.
_START_SECONDS = 600
_STOP_SECONDS = 60
# Linux shows every process as a folder here; elsewhere `ps` is asked.
_PROCESSES = Path("/proc")

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "effective_cache_size": "512MB",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    # One machine with short queries: no helpers that only take memory.
    "io_method": "sync",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
}
_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}


class Postgres:
    """One cluster in `home`; `durable=False` trades safety for speed, for data that a test throws away."""

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self._home = home
        self._data = home / "postgres"
        self._log = home / "logs" / "postgres.log"
        self._sockets = socket_folder(home)
        self._settings = _SETTINGS | ({} if durable else _THROWAWAY)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster if there is none, start it, wait until it answers, and make the database.

        Raises `CannotStart`. The caller holds the lock of the home folder.
        """
        who = identity.choose(self._home)
        folders.make_private(self._sockets, owner=who.owner)
        if self._data.exists():
            self._end_leftover()
        else:
            self._make_cluster(who)
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        with processes.open_log(self._log) as log:
            self._process = processes.spawn(
                [*who.command("postgres"), "-D", self._data, "-k", self._sockets, *options],
                output=log,
                user=who.user,
                dies_by=signal.SIGINT,
            )
        self._make_database(self._wait())

    def stop(self) -> None:
        """Close every connection, write everything down and end."""
        if self._process is not None:
            # The last resort still loses nothing: the next start recovers from the write-ahead log.
            processes.stop(self._process, by=signal.SIGINT, patience=_STOP_SECONDS, then=signal.SIGQUIT)
            self._process = None

    @property
    def exit_code(self) -> int | None:
        """None while the server runs."""
        return None if self._process is None else self._process.poll()

    def _make_cluster(self, who: Identity) -> None:
        # Made aside and moved, so that a folder named `postgres` is always whole.
        draft = self._home / "postgres.draft"
        shutil.rmtree(draft, ignore_errors=True)
        folders.make_private(draft, owner=who.owner)
        made = subprocess.run(  # noqa: S603
            [
                *(*who.command("initdb"), "-D", draft, "-U", "taskloom", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"),
                *(() if self._settings.get("fsync") != "off" else ("--no-sync",)),
            ],
            user=who.user,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise CannotStart(f"Postgres could not make its data folder {draft}:\n{made.stderr.strip()}")
        draft.rename(self._data)

    def _end_leftover(self) -> None:
        """A server whose starter was killed is still ending, or nobody told it to: see it out, then take over."""
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return
        if str(self._data) not in _command_line(pid):
            # The number belongs to another program by now, which would make Postgres refuse to start.
            pid_file.unlink(missing_ok=True)
            return
        for number in (signal.SIGINT, signal.SIGQUIT):
            os.kill(pid, number)
            deadline = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < deadline:
                if str(self._data) not in _command_line(pid):
                    return
                time.sleep(0.05)
        raise CannotStart(f"A Postgres of an earlier start (process {pid}) does not end. Stop it, then try again.")

    def _wait(self) -> "psycopg.Connection[tuple[object, ...]]":
        assert self._process is not None  # noqa: S101
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return psycopg.connect(host=str(self._sockets), user="taskloom", dbname="postgres", autocommit=True)
            except psycopg.OperationalError as error:
                if self._process.poll() is not None:
                    reason = processes.last_lines(self._log)
                    raise CannotStart(f"Postgres ended while starting; {self._log} ends with:\n{reason}") from None
                if time.monotonic() > deadline:
                    self.stop()
                    raise CannotStart(f"Postgres does not answer; see {self._log}:\n{error}") from None
            time.sleep(0.02)

    def _make_database(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        with connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'taskloom'").fetchone():
                connection.execute("CREATE DATABASE taskloom")
        connection.close()


def _command_line(pid: int) -> str:
    """The command line of a running process; empty when there is none."""
    if _PROCESSES.is_dir():
        try:
            return (_PROCESSES / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return found.stdout
