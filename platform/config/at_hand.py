"""The platform's servers for a command that needs them for a moment: those that run, or ones started for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management.base import CommandError
from django.db import OperationalError, connection

from config import env
from config.embedded import AlreadyRunning, CannotStart, Embedded, is_running
from config.up import prepare

_READY_SECONDS = 15.0


@contextmanager
def servers() -> Iterator[bool]:
    """Make sure that Postgres and Valkey answer; tells whether they ran already, so that workers may be there too.

    Raises `CommandError` when they do not come up.
    """
    home = settings.TASKLOOM_HOME
    embedded = Embedded(home, postgres=not env.text("DATABASE_URL"), valkey=not env.text("REDIS_URL"))
    needs_own = not (env.text("DATABASE_URL") and env.text("REDIS_URL"))
    if not needs_own or is_running(home):
        _wait_for_database()
        yield True
        return
    try:
        embedded.start()
    except AlreadyRunning:
        # Somebody else was quicker, between the question and the start.
        _wait_for_database()
        yield True
        return
    except CannotStart as error:
        raise CommandError(str(error)) from None
    try:
        prepare.migrate()
        yield False
    finally:
        prepare.close_connections()
        embedded.stop()


def _wait_for_database() -> None:
    """The one who started the servers may have done so a moment ago."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > deadline:
                raise CommandError(f"Postgres does not answer: {error}") from None
            time.sleep(0.2)
        else:
            return
