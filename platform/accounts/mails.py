"""Mails with a link that proves that somebody reads an address."""

from enum import StrEnum
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.mail import send_mail

from accounts.errors import LinkRefused
from accounts.models import User


class Kind(StrEnum):
    """Why an address may get a mail."""

    REGISTERED = "registered"
    FORGOTTEN = "forgotten"


class _Verification(PasswordResetTokenGenerator):
    key_salt = "accounts.mails.verification"

    # Django's are worthless once the password or the email changes; these also once they have been used.
    def _make_hash_value(self, user: User, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}{user.email_verified}"


_VERIFICATION = _Verification()
_RESET = PasswordResetTokenGenerator()

_VERIFY = """Somebody, probably you, has registered this address. Open this link within an hour to prove it:

{link}

If that was not you, do nothing: without the link the account cannot be used.
"""
_KNOWN = """Somebody, probably you, has tried to register this address, which has an account already.

If you have forgotten its password, ask for a new one here:

{link}

If that was not you, do nothing: nothing has changed.
"""
_FORGOTTEN = """Somebody, probably you, has asked for a new password. Open this link within an hour to choose one:

{link}

If that was not you, do nothing: your password stays as it is.
"""


def write(kind: Kind, email: str) -> None:
    """Write to the user with this address what the occasion asks for, if anything; raises `OSError`."""
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None:
        return
    if kind is Kind.REGISTERED and user.email_verified:
        _send(email, "You have an account already", _KNOWN, "forgot-password")
    elif kind is Kind.REGISTERED:
        _send(email, "Verify your address", _VERIFY, "verify-email", _token(_VERIFICATION, user))
    elif user.has_usable_password():
        _send(email, "Choose a new password", _FORGOTTEN, "reset-password", _token(_RESET, user))


def user_id_in(token: str) -> UUID:
    """Whose a link's token claims to be; raises `LinkRefused`."""
    try:
        return UUID(token.partition(".")[0])
    except ValueError:
        raise LinkRefused from None


def verifies(token: str, user: User) -> bool:
    """Whether this token was sent to verify the user's address, lately, and not used since."""
    return _VERIFICATION.check_token(user, token.partition(".")[2])


def resets(token: str, user: User) -> bool:
    """Whether this token was sent to reset the user's password, lately, and not used since."""
    return _RESET.check_token(user, token.partition(".")[2])


def _token(generator: PasswordResetTokenGenerator, user: User) -> str:
    return f"{user.pk}.{generator.make_token(user)}"


def _send(email: str, subject: str, text: str, page: str, token: str = "") -> None:
    # The address comes from the settings: a request's Host header is whatever its sender likes.
    link = f"{settings.FRONTEND_URL.rstrip('/')}/{page}" + (f"?{urlencode({'token': token})}" if token else "")
    send_mail(subject, text.format(link=link), None, [email])
