"""Child processes in sessions of their own: Ctrl-C in the terminal reaches only us, and we stop them in order."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 10 * 1024 * 1024

# Loaded here because nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path],
    *,
    output: BinaryIO | int,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    dies_by: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command`; should this process be killed outright, the kernel sends the child `dies_by` (Linux only).

    The signal is tied to the calling thread: call from one that lives as long as the child should.
    """
    return subprocess.Popen(  # noqa: S603  every command is ours
        [os.fspath(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
        preexec_fn=partial(_die_with_parent, dies_by),
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def stop(
    process: subprocess.Popen[bytes],
    *,
    by: signal.Signals = signal.SIGTERM,
    patience: float = 30,
    then: signal.Signals = signal.SIGKILL,
) -> int:
    """Ask the process to stop, insist with `then` after `patience` seconds, and return its exit code."""
    if process.poll() is None:
        process.send_signal(by)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.send_signal(then)
        return process.wait(10)


def open_log(path: Path) -> BinaryIO:
    """Open a log file to append to; one that has grown beyond 10 MB is kept aside as `….1` first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def last_lines(path: Path, count: int = 10) -> str:
    """The end of a log file, for an error message; empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 16_384))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])


def _die_with_parent(number: signal.Signals) -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number))
