"""Named moments at which a test can make this process fail; without `TASKLOOM_FAILPOINTS` they do nothing.

The variable holds `name=action` pairs separated by commas, `name=action@n` for the nth time the moment comes. Each
fires once. Actions: `exit` ends the process at once, `stop` halts it until SIGCONT, `raise` raises `Failure`,
`delay:SECONDS` keeps the whole process busy that long, `drop_db` breaks its connections to Postgres.
"""

import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from executions.kinds import PARKED, EventKind, Status

if TYPE_CHECKING:
    from executions.engine.batch import Batch

log = logging.getLogger(__name__)

NAMES = frozenset({
    "ring.before", "ring.after", "claim.before_commit", "claim.after_commit", "intent.before_commit",
    "intent.after_commit", "effect.before", "effect.after", "output.before_commit", "output.after_commit",
    "result.before_commit", "result.after_commit", "child.after_start", "park.before_commit", "park.after_commit",
    "finish.before_commit", "finish.after_commit", "release.before_commit", "release.after_commit", "sweep.before",
    "review.after_ask",
    "webhook.after_inbox", "webhook.after_start",
    "fire.after_start", "fire.before_commit", "fire.after_commit",
    "fund.before", "fund.after",
    "task.after_ask", "task.before_start", "task.after_part", "task.after_run", "task.after_answer",
})  # fmt: skip


class Failure(Exception):
    """What `raise` raises."""


@dataclass(slots=True)
class _Armed:
    """What happens at a moment, and how many times it passes by before."""

    action: str
    passes: int


def _parse(pairs: list[str]) -> dict[str, _Armed]:
    armed = {}
    for pair in pairs:
        name, _, rest = pair.partition("=")
        action, _, times = rest.partition("@")
        kind, _, seconds = action.partition(":")
        if name not in NAMES or (kind not in _ACTIONS and kind != "delay") or (kind == "delay") != bool(seconds):
            raise ImproperlyConfigured(f"TASKLOOM_FAILPOINTS: {pair!r} is not name=action; executions/failpoints.py")
        armed[name] = _Armed(action, int(times or 1) - 1)
    return armed


def failpoint(name: str) -> None:
    """The moment `name` has come."""
    if name in _armed:
        _come(name)


def around_commit(moment: Literal["before_commit", "after_commit"], batch: "Batch") -> None:
    """A batch is about to be committed, or was: the moments are called by what it records."""
    if _armed:
        for stage in _stages(batch):
            failpoint(f"{stage}.{moment}")


def _stages(batch: "Batch") -> list[str]:
    told = {event.kind for event in batch.events}
    stages = {
        "intent": EventKind.NODE_STARTED in told,
        "output": EventKind.NODE_OUTPUT in told,
        "result": batch.node_count > 0,
        "park": batch.status in PARKED,
        "release": batch.status is Status.QUEUED,
        "finish": batch.status.is_final,
    }
    return [stage for stage, holds in stages.items() if holds]


def _come(name: str) -> None:
    armed = _armed[name]
    if armed.passes:
        armed.passes -= 1
        return
    del _armed[name]
    log.warning("Failpoint %s: %s", name, armed.action)
    if armed.action in _ACTIONS:
        _ACTIONS[armed.action]()
    else:
        time.sleep(float(armed.action.removeprefix("delay:")))


def _exit() -> None:
    os._exit(9)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise Failure


def _drop_db() -> None:
    """Break what this process has open to Postgres underneath its drivers, as a network would."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if ".s.PGSQL." in str(connection.getpeername()):
                    connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # not a socket, or not connected


_ACTIONS = {"exit": _exit, "stop": _stop, "raise": _raise, "drop_db": _drop_db}
_armed = _parse(settings.FAILPOINTS)
