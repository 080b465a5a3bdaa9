"""Processes that fail as they are told to, forked from one that has loaded everything, for that takes seconds.

`python -m tests.crash.victims` reads one `Fate` a line, as JSON, and answers with the number of its process.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NoReturn

from tests.workers import ROOT, environment


@dataclass(frozen=True)
class Fate:
    """What a process is ordered to do, see victim.py; how it fails; its settings; and the file that it complains to."""

    order: str
    failpoints: str
    lease_seconds: float
    sweep_seconds: float
    log: str


class Victim:
    """A process with a fate."""

    def __init__(self, pid: int) -> None:
        self._handle: int | None = None
        with suppress(ProcessLookupError):
            self._handle = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is gone."""
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """End it, whatever state it is in."""
        self.send(signal.SIGKILL)
        if self._handle is not None:
            end = select.poll()
            end.register(self._handle, select.POLLIN)
            assert end.poll(10_000), "It does not end"
            os.close(self._handle)
            self._handle = None


class Victims:
    """The process that they are forked from."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self._orders, self._answers = orders, answers

    def begin(self, fate: Fate) -> Victim:
        """Send a new process into its fate."""
        self._orders.write(f"{json.dumps(asdict(fate))}\n")
        self._orders.flush()
        return Victim(int(self._answers.readline()))


@contextmanager
def victims(log: Path, **variables: str) -> Iterator[Victims]:
    """They can be had as long as the block lasts."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victims"],
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        yield Victims(server.stdin, server.stdout)
        server.stdin.close()


def serve() -> None:
    """Fork a process for each line, until there are no more."""
    from graphs.blocks.registry import BLOCKS
    from tests.crash import victim

    BLOCKS.all()
    # Nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _meet(Fate(**json.loads(line)), victim.obey)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _meet(fate: Fate, obey: Callable[[str], None]) -> NoReturn:
    from django.conf import settings

    from executions import failpoints

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(os.devnull, "r+b") as nothing, open(fate.log, "ab") as log:
        for number, file in enumerate((nothing, nothing, log)):
            os.dup2(file.fileno(), number)
    settings.LEASE_SECONDS, settings.SWEEP_SECONDS = fate.lease_seconds, fate.sweep_seconds
    failpoints._armed.update(failpoints._parse([fate.failpoints]))
    obey(fate.order)
    sys.exit()


if __name__ == "__main__":
    serve()
