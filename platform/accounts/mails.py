"""Mails with a link that proves that somebody reads an address."""

from enum import StrEnum
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from django.core.mail import send_mail
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.errors import LinkRefused
from accounts.models import User


class Kind(StrEnum):
    """Why an address may get a mail."""

    REGISTERED = "registered"
    FORGOTTEN = "forgotten"
    NEW_ADDRESS = "new_address"


class _Verification(PasswordResetTokenGenerator):
    key_salt = "accounts.mails.verification"

    # Django's are worthless once the password or the email changes; these also once they have been used.
    def _make_hash_value(self, user: User, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}{user.email_verified}"


_VERIFICATION = _Verification()
_RESET = PasswordResetTokenGenerator()

_NEW_ADDRESS = "accounts.mails.new_address"

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
_CHANGE = """A user wants to have this address from now on. Open this link within an hour to agree:

{link}

If that was not you, do nothing: nothing has changed.
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


def write_to_new_address(user_id: UUID, email: str) -> None:
    """Write to an address that a user wants to have from now on, unless somebody has it; raises `OSError`."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and not User.objects.filter(email=email).exists():
        token = signing.dumps([str(user.pk), _fingerprint(user.email), email], salt=_NEW_ADDRESS)
        _send(email, "Verify your new address", _CHANGE, "verify-new-email", token)


def new_address_in(token: str) -> tuple[UUID, str]:
    """Who wants another address, and the one that the token was sent to; raises `LinkRefused`."""
    user_id, _, new = _new_address(token)
    return UUID(user_id), new


def is_from(token: str, email: str) -> bool:
    """Whether this is still the address that was to be left when the token was sent."""
    return constant_time_compare(_new_address(token)[1], _fingerprint(email))


def _new_address(token: str) -> tuple[str, str, str]:
    try:
        user_id, old, new = signing.loads(token, salt=_NEW_ADDRESS, max_age=settings.PASSWORD_RESET_TIMEOUT)
    except signing.BadSignature:
        raise LinkRefused from None
    return user_id, old, new


def _fingerprint(email: str) -> str:
    # The token may be read by a stranger whose address was mistyped.
    return salted_hmac(_NEW_ADDRESS, email).hexdigest()[:32]


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
