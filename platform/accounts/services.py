"""Log in, stay logged in, log out, and find out who a token belongs to."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import connection, transaction
from django.utils import timezone

from accounts import identities, tokens
from accounts.errors import NotOurLogin, TokenRefused, TokenReused, WrongCredentials
from accounts.models import Ending, Login, User
from accounts.tokens import Claims, Kind
from core.sql import fetch_prepared

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 14 * 24 * 3600

# Asked in every request, so that a user who is switched off and a login that has ended are out at once.
_ACTIVE_USER = (
    f"SELECT {', '.join(identities.COLUMNS)} FROM {User._meta.db_table} person "  # noqa: S608  ours
    "WHERE id = %(user)s AND is_active AND EXISTS ("
    f"SELECT FROM {Login._meta.db_table} WHERE id = %(login)s AND user_id = person.id AND ended_at IS NULL)"
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client shows: `access` with each request for an hour, `refresh` to get the next pair."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Session:
    """Who an access token belongs to, when it expires, and the login it came of.

    What a provider issued came of none: then `token` is kept, for the provider may withdraw the key it signed with.
    """

    user: User
    until: datetime
    login_id: UUID | None
    token: str = field(default="", repr=False)


def log_in(email: str, password: str) -> Tokens:
    """Tokens for the user with this email and password.

    Raises `WrongCredentials`, in the same words and after the same work, for a wrong password, an unknown email, one
    that is not verified, and a user who is switched off.
    """
    user = authenticate(username=email, password=password)
    if not isinstance(user, User) or not user.email_verified:
        raise WrongCredentials
    return issue_tokens(user)


def issue_tokens(user: User) -> Tokens:
    """The first tokens of a new login: claims `sub`, `email`, `role` and `aud` say who `user` is."""
    now = timezone.now()
    user.logins.filter(expires_at__lt=now).delete()
    login = Login.objects.create(user=user, turned_at=now, expires_at=now + timedelta(seconds=REFRESH_SECONDS))
    return _pair(user, login)


def refresh(token: str) -> Tokens:
    """The next tokens for the owner of a refresh token.

    Each refresh token is good for one pair. One that comes again after `REFRESH_GRACE_SECONDS` was stolen, from the
    client or by it: its login ends with all tokens. Raises `TokenReused` then, else `TokenRefused`.
    """
    claims = tokens.read(token, Kind.REFRESH)
    login_id, turn = _login_of(claims), claims.payload.get("turn")
    with transaction.atomic():
        login = Login.objects.locked(login_id)
        # Only now: waiting for the row takes time, in which another request may have turned it.
        now = timezone.now()
        if login is not None and (login.ended_at is not None or login.expires_at <= now):
            raise TokenRefused
        user = User.objects.filter(pk=login.user_id, is_active=True).first() if login else None
        if login is None or user is None or str(user.pk) != claims.subject or not isinstance(turn, int):
            raise TokenRefused
        is_newest = turn == login.turn
        if is_newest:
            login.turn += 1
            login.turned_at = now
            login.expires_at = now + timedelta(seconds=REFRESH_SECONDS)
            login.save()
        elif not _is_in_grace(login, turn, now):
            Login.objects.filter(pk=login.pk).end(now, Ending.TOKEN_REUSED)
            user = None
    if user is None:
        raise TokenReused
    return _pair(user, login)


def log_out(session: Session) -> None:
    """End the login that an access token came of, with all of its tokens; raises `NotOurLogin`."""
    if session.login_id is None:
        raise NotOurLogin
    Login.objects.filter(pk=session.login_id).end(timezone.now(), Ending.LOGGED_OUT)


def log_out_by(refresh_token: str) -> None:
    """End the login that a refresh token came of, whether it has ended already or not; raises `TokenRefused`."""
    login_id = _login_of(tokens.read(refresh_token, Kind.REFRESH))
    Login.objects.filter(pk=login_id).end(timezone.now(), Ending.LOGGED_OUT)


def session_of(access_token: str) -> Session:
    """The active user who holds this access token; raises `TokenRefused`, `TokenWithoutSubject` when it names none.

    A provider's token makes its user on first use; see `identities.user_of` for what that may raise.
    """
    claims = tokens.read(access_token, Kind.ACCESS)
    if not claims.are_ours:
        return Session(identities.user_of(claims), claims.until, None, access_token)
    login_id = _login_of(claims)
    try:
        found = fetch_prepared(_ACTIVE_USER, {"user": UUID(claims.subject), "login": login_id})
    except ValueError:
        raise TokenRefused from None
    if not found:
        raise TokenRefused
    return Session(User.from_db(connection.alias, identities.COLUMNS, found[0]), claims.until, login_id)


def _pair(user: User, login: Login) -> Tokens:
    subject, login_id = str(user.pk), str(login.pk)
    return Tokens(
        access=tokens.sign(Kind.ACCESS, subject, ACCESS_SECONDS, email=user.email, role=user.role, login=login_id),
        refresh=tokens.sign(Kind.REFRESH, subject, REFRESH_SECONDS, login=login_id, turn=login.turn),
    )


def _login_of(claims: Claims) -> UUID:
    try:
        return UUID(str(claims.payload.get("login")))
    except ValueError:
        raise TokenRefused from None


def _is_in_grace(login: Login, turn: int, now: datetime) -> bool:
    elapsed = abs((now - login.turned_at).total_seconds())
    return turn == login.turn - 1 and elapsed < settings.REFRESH_GRACE_SECONDS
