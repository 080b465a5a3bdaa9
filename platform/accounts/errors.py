"""How proving who one is fails, and being allowed to."""

from typing import ClassVar

from core.errors import Conflict, DomainError, Invalid, NotFound, Refused, Unavailable


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


class TicketRefused(TokenRefused):
    """The ticket was used, is too old, or was never given."""

    hint: ClassVar[str] = "POST /api/auth/ticket gives a new one."


class ApiKeyRefused(NotAuthenticated):
    """The API key is wrong."""

    hint: ClassVar[str] = "POST /api/api-keys makes a new one."


class ApiKeyRevoked(ApiKeyRefused):
    """The API key is revoked."""


class ApiKeyExpired(ApiKeyRefused):
    """The API key has expired."""


class ApiKeySuspended(ApiKeyRefused):
    """The API key is suspended."""

    hint: ClassVar[str] = "POST /api/api-keys/{key_id}/resume ends the suspension."


class PermissionMissing(Refused):
    """The API key does not have the permission that this operation needs."""

    hint: ClassVar[str] = "PUT /api/api-keys/{key_id}/permissions gives it."


class NoSuchApiKey(NotFound):
    """There is no such API key, or it is not yours."""

    hint: ClassVar[str] = "GET /api/api-keys lists your keys."


class RevokedForGood(Conflict):
    """The API key is revoked, which nothing changes any more."""

    hint: ClassVar[str] = "POST /api/api-keys makes a new one."


class TooManyApiKeys(Conflict):
    """You have as many API keys as one may have."""

    hint: ClassVar[str] = "Revoke one that is no longer used."


class BudgetTaken(Conflict):
    """The runs of this API key have used or set aside more than that."""

    hint: ClassVar[str] = "Set `least` or more; POST /api/api-keys/{key_id}/suspend keeps it from starting more."


class TokenReused(TokenRefused):
    """This refresh token was used before, so every token of its login is now worthless."""

    hint: ClassVar[str] = "POST /api/auth/token begins a new login."


class IdentityRefused(TokenRefused):
    """The identity provider's token does not say enough to open an account with."""

    hint: ClassVar[str] = "It needs the claim `email`, and `email_verified` must not be false."


class EmailOfAnotherAccount(TokenRefused):
    """There is an account with this identity's email already, and it does not belong to this identity."""

    hint: ClassVar[str] = "An administrator can add the identity to the account."


class NotOurLogin(Conflict):
    """This token was issued by an identity provider, which alone can end it."""

    hint: ClassVar[str] = "Log out there."


class IdentityProviderUnavailable(Unavailable):
    """The identity provider does not tell its keys at the moment."""


class LinkRefused(Invalid):
    """This link was used, is too old, or was never sent."""

    hint: ClassVar[str] = "Ask for another one."


class WrongPassword(Invalid):
    """This is not your password."""


class PasswordTooWeak(Invalid):
    """The password is too easy to guess."""


class ImpersonationRefused(Refused):
    """Only administrators may act as somebody else."""

    hint: ClassVar[str] = "Leave out the header X-Act-As-User-Id."


class NotWhileImpersonating(Refused):
    """Nobody can do this for somebody else."""

    hint: ClassVar[str] = "Leave out the header X-Act-As-User-Id."


class NoSuchUser(NotFound):
    """There is no such user to act as, or it is switched off."""
