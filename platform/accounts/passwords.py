"""Register, prove an address, and choose another password.

Nothing here tells whether an address has an account: answers and work are the same, and the mail alone knows.
"""

from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import mails, queue
from accounts.errors import LinkRefused, PasswordTooWeak, WrongPassword
from accounts.mails import Kind
from accounts.models import Ending, User


def register(email: str, password: str, name: str = "") -> None:
    """Make an account that can be used once the link in the mail was opened.

    Until then the last to register the address has it. Raises `PasswordTooWeak`.
    """
    user = User(email=email.lower(), name=name, email_verified=False)
    _check(password, user)
    user.password = make_password(password)
    with transaction.atomic():
        User.objects.bulk_create([user], ignore_conflicts=True)
        User.objects.filter(email=user.email, email_verified=False).update(
            password=user.password, name=name, updated_at=timezone.now()
        )
        queue.mail(Kind.REGISTERED, user.email)


def verify(token: str) -> None:
    """Let the user in whose address the token of a link was sent to; raises `LinkRefused`."""
    with transaction.atomic():
        user = User.objects.locked(mails.user_id_in(token))
        if user is None or not mails.verifies(token, user):
            raise LinkRefused
        user.email_verified = True
        user.save(update_fields=["email_verified", "updated_at"])


def forgot(email: str) -> None:
    """Send a link to choose another password, if this is the address of somebody who has one."""
    queue.mail(Kind.FORGOTTEN, email.lower())


def reset(token: str, password: str) -> None:
    """Set the password of the user whom a link was sent to, and end all logins.

    Raises `LinkRefused`, and `PasswordTooWeak`, after which the link is still good.
    """
    with transaction.atomic():
        user = User.objects.locked(mails.user_id_in(token))
        if user is None or not mails.resets(token, user):
            raise LinkRefused
        _check(password, user)
        # Whoever opens the link reads the address.
        user.email_verified = True
        _set(user, password)


def change(user_id: UUID, old: str, new: str, *, keep: UUID | None) -> None:
    """Set another password and end all logins but `keep`; raises `WrongPassword` and `PasswordTooWeak`."""
    with transaction.atomic():
        user = User.objects.locked(user_id)
        if user is None or not user.check_password(old):
            raise WrongPassword
        _check(new, user)
        _set(user, new, keep)


def _set(user: User, password: str, keep: UUID | None = None) -> None:
    user.password = make_password(password)
    user.save(update_fields=["password", "email_verified", "updated_at"])
    others = user.logins.exclude(pk=keep) if keep else user.logins.all()
    others.end(timezone.now(), Ending.PASSWORD_CHANGED)


def _check(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise PasswordTooWeak(" ".join(error.messages), detail=error.messages) from None
