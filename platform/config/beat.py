"""The scheduler of the system's own jobs: however many beats are started, one works and the others stand by."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import psycopg
from django.conf import settings
from django_celery_beat.schedulers import DatabaseScheduler

log = logging.getLogger(__name__)

# The number of the advisory lock: any, as long as nothing else in this database uses it.
LOCK = 0x7A5C_BEA7
_STANDBY_SECONDS = 5.0
# How long an end in order may take.
_GRACE_SECONDS = 10.0


class GuardedScheduler(DatabaseScheduler):  # type: ignore[misc]  # ships no types
    """Ticks only while it holds an advisory lock, which Postgres frees when this process or its connection dies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._guard: psycopg.Connection[Any] | None = None
        _see_to_the_end()
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due and return the seconds until the next look."""
        if not self._is_ours():
            return _STANDBY_SECONDS
        return float(super().tick(*args, **kwargs))

    def close(self) -> None:
        """Write down the last runs and let another beat take over."""
        super().close()
        if self._guard is not None:
            self._guard.close()

    def _is_ours(self) -> bool:
        try:
            if self._guard is not None:
                self._guard.execute("SELECT 1")
                return True
            # A connection of its own: the lock lives as long as the session, and the pool's sessions are shared.
            guard = psycopg.connect(settings.DATABASE_URL, autocommit=True)
            row = guard.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()
        except psycopg.OperationalError as error:
            log.warning("Beat has no database and waits: %s", error)
            self._guard = None
            return False
        if row is None or not row[0]:
            guard.close()
            return False
        log.info("This beat has the lock and works")
        self._guard = guard
        return True


def _see_to_the_end() -> None:
    """Take over from Celery's handlers, where it has set any: in theirs the scheduler may be made a second time."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    """End in order, or else after a while: where Postgres ends as well, a rollback's error may swallow `SystemExit`."""
    lastly = threading.Timer(_GRACE_SECONDS, os._exit, (0,))
    lastly.daemon = True
    lastly.start()
    raise SystemExit
