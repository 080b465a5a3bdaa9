"""Administrators who act as somebody else, each request on record."""

from enum import Enum
from uuid import UUID

from accounts.errors import ImpersonationRefused, NoSuchUser
from accounts.models import Impersonation, Role, User


class Acting(Enum):
    """What a view does when an administrator acts as somebody else: allowed unless it says otherwise."""

    ALLOWED = "allowed"
    IGNORED = "ignored"
    REFUSED = "refused"


def act_as(admin: User, user_id: str, *, method: str, path: str) -> User:
    """The active user with this id, after it is written down that `admin` acts as them in this request.

    Raises `ImpersonationRefused` when `admin` is none, and `NoSuchUser`; what is refused is not on record.
    """
    if admin.role != Role.ADMIN:
        raise ImpersonationRefused
    try:
        user = User.objects.filter(pk=UUID(user_id), is_active=True).first()
    except ValueError:
        user = None
    if user is None:
        raise NoSuchUser
    Impersonation.objects.create(
        admin=admin,
        admin_email=admin.email,
        user=user,
        user_email=user.email,
        method=method,
        path=path[:2000],
    )
    return user
