"""The processes of the platform: how each is started, kept alive and stopped."""

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config import processes

# A child that dies at once is tried again after 0.5, 1, 2, … seconds, never more than this.
_LONGEST_PAUSE = 30.0
_FIRST_PAUSE = 0.5
# One that lived this long starts afresh.
_SETTLED = 60.0


@dataclass
class Child:
    """A process that should always run; when it ends by itself it is started again, ever later."""

    name: str
    command: Sequence[str]
    log: Path
    patience: float = 30.0
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    _started: float = field(default=0.0, repr=False)
    _again_at: float = field(default=0.0, repr=False)

    def start(self) -> None:
        """Start it, in a session of its own, writing to its log file."""
        with processes.open_log(self.log) as log:
            self.process = processes.spawn(self.command, output=log)
        self._started = time.monotonic()

    def keep_alive(self) -> str | None:
        """Notice a death and start again when its pause is over; returns what to tell the person, if anything."""
        if self.process is None:
            if time.monotonic() >= self._again_at:
                self.start()
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.process = None
        self.deaths = 1 if time.monotonic() - self._started > _SETTLED else self.deaths + 1
        pause = min(_FIRST_PAUSE * 2 ** (self.deaths - 1), _LONGEST_PAUSE)
        self._again_at = time.monotonic() + pause
        return f"{self.name} ended ({_reason(code)}); starting it again in {pause:g} s. Its log: {self.log}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM without waiting."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to stop and wait; after `patience` seconds it is killed."""
        if self.process is not None:
            processes.stop(self.process, patience=self.patience)
            self.process = None


def web(*, host: str, port: int, logs: Path) -> Child:
    """The server of REST and WebSockets."""
    command = _module("uvicorn", "config.asgi:application", "--host", host, "--port", str(port), "--lifespan", "off")
    # Who is behind a proxy is found out by TASKLOOM_PROXIES alone.
    options = [
        "--no-proxy-headers",
        "--no-server-header",
        "--no-access-log",
        "--timeout-graceful-shutdown",
        "5",
        "--ws-max-size",
        str(1024 * 1024),
    ]
    # Compressed, an event takes twice as long to send: each socket compresses it anew, with memory of its own.
    options += ["--ws-per-message-deflate", "false"]
    return Child("web", [*command, *options], logs / "web.log")


def workers(*, count: int, logs: Path) -> list[Child]:
    """The workers: each drives many runs at once."""
    command = ["-A", "config", "worker", "-Q", "runs,isolated,default", "--loglevel", "INFO"]
    # Workers find their work in rows and need no word of each other.
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    names = [f"worker{number}" for number in range(1, count + 1)]
    return [Child(name, _module("celery", *command, "-n", f"{name}@%h"), logs / f"{name}.log") for name in names]


def beat(*, logs: Path) -> Child:
    """The clock of the system's own schedules."""
    return Child(
        "beat", _module("celery", "-A", "config", "beat", "--pidfile=", "--loglevel", "INFO"), logs / "beat.log"
    )


def cannot_listen(host: str, port: int) -> str:
    """Why a server cannot listen there now, and what to do about it; empty when it can."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return f"Port {port} is only for root. Choose one above 1023 with --port."
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return (
                    f"Port {port} is taken by another program. Choose another one with --port "
                    f"(make run ARGS='--port {port + 1}')."
                )
            return (
                f"{host} is no address of this machine ({error.strerror}). Choose one with --host, such as 127.0.0.1."
            )
    return ""


def _module(name: str, *arguments: str) -> list[str]:
    # -P: whatever lies in the current folder must not be imported by accident.
    # -W: Celery warns of workers that run as root. Whoever starts the platform on their own machine chose that.
    return [sys.executable, "-P", "-W", "ignore:You're running", "-m", name, *arguments]


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
