"""The user behind an identity provider's token, made when it is first seen."""

from contextlib import suppress
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction

from accounts.errors import EmailOfAnotherAccount, IdentityRefused, TokenRefused
from accounts.models import Identity, User
from accounts.tokens import Claims
from core.ids import uuid7
from core.sql import fetch_prepared

COLUMNS = [field.attname for field in User._meta.concrete_fields]
_ACTIVE_USER = (
    f"SELECT {', '.join(f'person.{column}' for column in COLUMNS)} FROM {User._meta.db_table} person "  # noqa: S608  ours
    f"JOIN {Identity._meta.db_table} identity ON identity.user_id = person.id "
    "WHERE identity.issuer = %(issuer)s AND identity.subject = %(subject)s AND person.is_active"
)


def user_of(claims: Claims) -> User:
    """The active user who is meant by a provider's token; a new one when nobody is yet.

    Rights are not taken over: a new user has the role `user` until an administrator gives another.
    Raises `TokenRefused` for a user who is switched off, `IdentityRefused` and `EmailOfAnotherAccount`.
    """
    if user := _known(claims):
        return user
    email = _email(claims)
    with suppress(IntegrityError), transaction.atomic():
        user = User(id=_free_id(claims.subject), email=email, name=_name(claims))
        user.set_unusable_password()
        user.save(force_insert=True)
        Identity.objects.create(user=user, issuer=claims.issuer, subject=claims.subject)
        return user
    # Somebody was first: another request with the same identity, or another account with this email.
    if user := _known(claims):
        return user
    if Identity.objects.filter(issuer=claims.issuer, subject=claims.subject).exists():
        raise TokenRefused
    raise EmailOfAnotherAccount


def _known(claims: Claims) -> User | None:
    found = fetch_prepared(_ACTIVE_USER, {"issuer": claims.issuer, "subject": claims.subject})
    return User.from_db(connection.alias, COLUMNS, found[0]) if found else None


def _email(claims: Claims) -> str:
    email = claims.payload.get("email")
    # An address that was not proven could be anybody's, who would find a stranger in their account.
    if not isinstance(email, str) or len(email) > 254 or claims.payload.get("email_verified") is False:
        raise IdentityRefused
    try:
        validate_email(email)
    except ValidationError:
        raise IdentityRefused from None
    return email.lower()


def _name(claims: Claims) -> str:
    name = claims.payload.get("name")
    return name.replace("\0", "")[:150] if isinstance(name, str) else ""


def _free_id(subject: str) -> UUID:
    """The provider's own id of the user where it can be ours, too."""
    try:
        own = UUID(subject)
    except ValueError:
        return uuid7()
    return uuid7() if User.objects.filter(pk=own).exists() else own
