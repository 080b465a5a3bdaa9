"""How proving who one is fails."""

from typing import ClassVar

from core.errors import DomainError


class NotAuthenticated(DomainError):
    """Who you are is not proven."""

    status: ClassVar[int] = 401


class WrongCredentials(NotAuthenticated):
    """The email or the password is wrong."""


class TokenRefused(NotAuthenticated):
    """The token is expired or wrong."""

    hint: ClassVar[str] = "POST /api/auth/token gives a new one."


class TokenWithoutSubject(TokenRefused):
    """The token does not say whose it is."""
