"""Log in, stay logged in, and find out who a token belongs to."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.contrib.auth import authenticate
from django.db import connection
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from accounts.errors import TokenRefused, TokenWithoutSubject, WrongCredentials
from accounts.models import User
from core.sql import fetch_prepared

# Asked in every request, so that a user who is switched off is out at once.
_COLUMNS = [field.attname for field in User._meta.concrete_fields]
_ACTIVE_USER = f"SELECT {', '.join(_COLUMNS)} FROM {User._meta.db_table} WHERE id = %(id)s AND is_active"  # noqa: S608  ours


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client shows: `access` with each request for an hour, `refresh` to get the next pair."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Session:
    """Who an access token belongs to, and when it expires."""

    user: User
    until: datetime


def log_in(email: str, password: str) -> Tokens:
    """Tokens for the user with this email and password.

    Raises `WrongCredentials`, in the same words and after the same work, for a wrong password, an unknown email and
    a user who is switched off.
    """
    user = authenticate(username=email, password=password)
    if not isinstance(user, User):
        raise WrongCredentials
    return issue_tokens(user)


def refresh(token: str) -> Tokens:
    """New tokens for the owner of a refresh token; raises `TokenRefused`."""
    return issue_tokens(owner_of(_verified(RefreshToken, token)))


def issue_tokens(user: User) -> Tokens:
    """New tokens that say who `user` is: claims `sub`, `email`, `role` and `aud`."""
    token = RefreshToken.for_user(user)
    token["email"] = user.email
    token["role"] = user.role
    return Tokens(access=str(token.access_token), refresh=str(token))


def session_of(access_token: str) -> Session:
    """The active user who holds this access token; raises `TokenRefused`, `TokenWithoutSubject` when it names none."""
    token = _verified(AccessToken, access_token)
    return Session(owner_of(token), datetime.fromtimestamp(token.payload["exp"], UTC))


def owner_of(token: Token) -> User:
    """The active user whom a verified token names; raises `TokenRefused`, `TokenWithoutSubject` when it names none."""
    subject = token.payload.get(api_settings.USER_ID_CLAIM)
    if not subject:
        raise TokenWithoutSubject
    try:
        found = fetch_prepared(_ACTIVE_USER, {"id": UUID(str(subject))})
    except ValueError:
        raise TokenRefused from None
    if not found:
        raise TokenRefused
    return User.from_db(connection.alias, _COLUMNS, found[0])


def _verified(kind: type[Token], token: str) -> Token:
    try:
        # The stubs want a Token; every caller of the library hands over its text.
        return kind(token)  # type: ignore[arg-type]
    except TokenError:
        raise TokenRefused from None
