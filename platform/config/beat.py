"""The scheduler of the system's own jobs: however many beats are started, one works and the others stand by."""

import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import psycopg
from celery.signals import beat_init
from django.conf import settings
from django_celery_beat.schedulers import DatabaseScheduler

log = logging.getLogger(__name__)

# The number of the advisory lock: any, as long as nothing else in this database uses it.
_LOCK = 0x7A5C_BEA7
_STANDBY_SECONDS = 5.0
_asked_to_stop = threading.Event()


@beat_init.connect
def hear_signals_out(**_: Any) -> None:
    """Let `tick` end this process when it was told to stop and something swallowed that.

    Celery's handlers raise `SystemExit`, which the error of a rollback takes the place of when Postgres ends as well.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, partial(_note, handler))


def _note(handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    _asked_to_stop.set()
    handler(number, frame)


class GuardedScheduler(DatabaseScheduler):  # type: ignore[misc]  # ships no types
    """Ticks only while it holds an advisory lock, which Postgres frees when this process or its connection dies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._guard: psycopg.Connection[Any] | None = None
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due and return the seconds until the next look; raises `SystemExit` when told to stop."""
        if _asked_to_stop.is_set():
            raise SystemExit
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
            row = guard.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
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
