"""Ending what stays open, a socket or a stream, when the session behind it is over."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from accounts import tokens
from accounts.errors import IdentityProviderUnavailable, TokenRefused
from accounts.models import Login, User
from accounts.services import Session
from accounts.tokens import Kind

# How soon the end of a login reaches what is open.
LOOK_SECONDS = 3.0
EXPIRED = "The token has expired"
ENDED = "The login has ended"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class _Open:
    session: Session
    end: Callable[[str], None]


class _Watch:
    """Looks after the sessions of one event loop, with two queries for all of them."""

    def __init__(self) -> None:
        self._open: set[_Open] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, opened: _Open) -> None:
        self._open.add(opened)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look_after())

    def remove(self, opened: _Open) -> None:
        self._open.discard(opened)
        if self._task is not None and not self._open:
            self._task.cancel()
            self._task = None

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                over = await database_sync_to_async(_over)(frozenset(self._open))
                for opened in over & self._open:
                    opened.end(ENDED)
            except DatabaseError as error:
                log.warning("Whether sessions have ended could not be read: %s", error)
            # Nobody awaits this task: without it what is open would outlive its session.
            except Exception:
                log.exception("Whether sessions have ended could not be told")


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


@contextmanager
def while_it_lasts(session: Session, end: Callable[[str], None]) -> Iterator[None]:
    """Have `end` called with the reason, in the event loop, when the session is over before the block is.

    It is over when its token expires, when its login ends, when its user is switched off, and when the identity
    provider that issued the token no longer publishes the key.
    """
    loop = asyncio.get_running_loop()
    left = (session.until - datetime.now(UTC)).total_seconds()
    expiry = loop.call_later(max(left, 0), end, EXPIRED)
    watch = _watches.setdefault(loop, _Watch())
    opened = _Open(session, end)
    watch.add(opened)
    try:
        yield
    finally:
        expiry.cancel()
        watch.remove(opened)


def _over(all_open: Set[_Open]) -> set[_Open]:
    """Those whose session has ended."""
    sessions = [opened.session for opened in all_open]
    users = {session.user.pk for session in sessions}
    logins = {session.login_id for session in sessions if session.login_id}
    active = set(User.objects.filter(pk__in=users, is_active=True).values_list("pk", flat=True))
    lasting = set(Login.objects.filter(pk__in=logins, ended_at=None, user__is_active=True).values_list("pk", flat=True))
    refused = _refused({session.token for session in sessions if session.token})
    return {
        opened
        for opened in all_open
        if opened.session.user.pk not in active
        or (opened.session.login_id and opened.session.login_id not in lasting)
        or opened.session.token in refused
    }


def _refused(texts: Iterable[str]) -> set[str]:
    refused = set()
    for text in texts:
        try:
            tokens.read(text, Kind.ACCESS)
        except IdentityProviderUnavailable:
            return set()
        except TokenRefused:
            refused.add(text)
    return refused
