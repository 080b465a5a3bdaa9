"""API keys: make them, change them, and find out who holds one."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.errors import (
    ApiKeyExpired,
    ApiKeyRefused,
    ApiKeyRevoked,
    ApiKeySuspended,
    BudgetTaken,
    NoSuchApiKey,
    PermissionMissing,
    RevokedForGood,
    TooManyApiKeys,
)
from accounts.models import ApiKey, ApiKeyPermission, ApiKeyStatus, User
from core.sql import fetch_prepared
from core.units import CREDIT

# Revoked ones are not counted.
MAX_KEYS = 100
USE_NOTED_EVERY = timedelta(minutes=1)

_FORM = re.compile(r"tlk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
_ENDS = 8

# Asked in every request and kept nowhere, so that a key that is revoked is out at once.
_KEY_COLUMNS = ["id", "digest", "status", "permissions", "expires_at", "last_used_at", "max_credits"]
_USER_COLUMNS = [field.attname for field in User._meta.concrete_fields]
_HOLDER = " ".join(
    f"""
    SELECT {", ".join(f"k.{name}" for name in _KEY_COLUMNS)}, {", ".join(f"u.{name}" for name in _USER_COLUMNS)}
    FROM {ApiKey._meta.db_table} k JOIN {User._meta.db_table} u ON u.id = k.user_id
    WHERE k.public_id = %(public_id)s AND u.is_active
    """.split()  # noqa: S608  ours
)


@dataclass(frozen=True, slots=True)
class Access:
    """What a program that showed a key may do, and for whom; `has_budget` if what its runs use is limited."""

    user: User
    key_id: UUID
    permissions: frozenset[str]
    has_budget: bool

    def check(self, permission: ApiKeyPermission) -> None:
        """Raise `PermissionMissing` unless the key has this permission."""
        if permission not in self.permissions:
            raise PermissionMissing(f"The API key lacks the permission {permission}", permission=permission.value)


# --- Showing a key ----------------------------------------------------------------------------------------------


def access_with(text: str) -> Access:
    """What whoever shows this key may do; writes down that it was used, at most once a minute.

    Raises `ApiKeyRefused`, and to those who know the secret says why: `ApiKeyRevoked`, `ApiKeySuspended`,
    `ApiKeyExpired`. The key of a user who is switched off is refused as one that never was.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ApiKeyRefused
    found = fetch_prepared(_HOLDER, {"public_id": form[1]})
    # The same work, whether or not there is such a key.
    row = found[0] if found else (None, "", "", [], None, None, None)
    key_id, digest, status, permissions, expires_at, last_used_at, max_credits = row[: len(_KEY_COLUMNS)]
    if not compare_digest(digest, _digest_of(text)) or not found:
        raise ApiKeyRefused
    now = timezone.now()
    _check_state(status, expires_at, now)
    if last_used_at is None or last_used_at < now - USE_NOTED_EVERY:
        ApiKey.objects.filter(pk=key_id).not_used_since(now - USE_NOTED_EVERY).update(last_used_at=now)
    user = User.from_db(connection.alias, _USER_COLUMNS, row[len(_KEY_COLUMNS) :])
    return Access(user, key_id, frozenset(permissions), max_credits is not None)


def _check_state(status: str, expires_at: datetime | None, now: datetime) -> None:
    if status == ApiKeyStatus.REVOKED:
        raise ApiKeyRevoked
    if status == ApiKeyStatus.SUSPENDED:
        raise ApiKeySuspended
    if expires_at is not None and expires_at <= now:
        raise ApiKeyExpired


def _digest_of(text: str) -> str:
    # Nobody can try out 256 random bits, so the hash need not be a slow one.
    return hashlib.sha256(text.encode()).hexdigest()


# --- Changing keys ----------------------------------------------------------------------------------------------


def create_key(
    owner: User,
    name: str,
    permissions: Iterable[ApiKeyPermission],
    *,
    description: str = "",
    expires_at: datetime | None = None,
    max_credits: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which is kept nowhere and never shown again; raises `TooManyApiKeys`.

    Its runs use `max_credits` together at most, unless that is None.
    """
    public_id = secrets.token_hex(8)
    text = f"tlk_{public_id}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        # Two requests at once would both count what is there before either adds to it.
        User.objects.lock(owner.pk)
        if ApiKey.objects.visible_to(owner).exclude(status=ApiKeyStatus.REVOKED).count() >= MAX_KEYS:
            raise TooManyApiKeys(f"You have {MAX_KEYS} API keys, more are not allowed", limit=MAX_KEYS)
        key = ApiKey.objects.create(
            user=owner,
            name=name,
            description=description,
            public_id=public_id,
            digest=_digest_of(text),
            head=text[:_ENDS],
            tail=text[-_ENDS:],
            permissions=_in_order(permissions),
            expires_at=expires_at,
            max_credits=max_credits,
        )
    return key, text


def own_key(owner: User, key_id: UUID) -> ApiKey:
    """A key of `owner`; raises `NoSuchApiKey`."""
    key = ApiKey.objects.visible_to(owner).filter(pk=key_id).first()
    if key is None:
        raise NoSuchApiKey(key_id=str(key_id))
    return key


def has_budget(key_id: UUID) -> bool:
    """Whether what the runs of this key use is limited; one that is revoked limits nothing any more."""
    return ApiKey.objects.filter(pk=key_id, max_credits__isnull=False).exclude(status=ApiKeyStatus.REVOKED).exists()


@transaction.atomic
def set_permissions(owner: User, key_id: UUID, permissions: Iterable[ApiKeyPermission]) -> ApiKey:
    """Replace what a key may do, from its next request on; raises `NoSuchApiKey` and `RevokedForGood`."""
    key = _changeable(owner, key_id)
    key.permissions = _in_order(permissions)
    key.save(update_fields=["permissions", "updated_at"])
    return key


@transaction.atomic
def set_budget(owner: User, key_id: UUID, max_credits: int | None) -> ApiKey:
    """Let the runs of a key use so many credits together, from its next request on; None is no limit.

    What they have used or set aside is part of it. Raises `NoSuchApiKey`, `RevokedForGood` and `BudgetTaken`.
    """
    key = _changeable(owner, key_id)
    check_budget(key, max_credits)
    key.max_credits = max_credits
    key.save(update_fields=["max_credits", "updated_at"])
    return key


def check_budget(key: ApiKey, max_credits: int | None) -> None:
    """Raise `BudgetTaken` when the runs of the key have used or set aside more than that."""
    least = -(-key.credits_taken // CREDIT)
    if max_credits is not None and max_credits < least:
        taken = f"{key.credits_taken / CREDIT:.6f}".rstrip("0").rstrip(".")
        raise BudgetTaken(f"The runs of this API key have used or set aside {taken} credits", least=least)


@transaction.atomic
def suspend(owner: User, key_id: UUID) -> ApiKey:
    """Refuse a key until it is resumed; raises `NoSuchApiKey` and `RevokedForGood`."""
    return _with_status(_changeable(owner, key_id), ApiKeyStatus.SUSPENDED)


@transaction.atomic
def resume(owner: User, key_id: UUID) -> ApiKey:
    """Accept a suspended key again; raises `NoSuchApiKey` and `RevokedForGood`."""
    return _with_status(_changeable(owner, key_id), ApiKeyStatus.ACTIVE)


@transaction.atomic
def revoke(owner: User, key_id: UUID) -> ApiKey:
    """Refuse a key for good, from its next request on; one that is revoked stays as it is. Raises `NoSuchApiKey`."""
    key = _locked(owner, key_id)
    if key.status != ApiKeyStatus.REVOKED:
        key.status, key.revoked_at = ApiKeyStatus.REVOKED, timezone.now()
        key.save(update_fields=["status", "revoked_at", "updated_at"])
    return key


def _locked(owner: User, key_id: UUID) -> ApiKey:
    key = ApiKey.objects.visible_to(owner).filter(pk=key_id).locked().first()
    if key is None:
        raise NoSuchApiKey(key_id=str(key_id))
    return key


def _changeable(owner: User, key_id: UUID) -> ApiKey:
    key = _locked(owner, key_id)
    if key.status == ApiKeyStatus.REVOKED:
        raise RevokedForGood(key_id=str(key_id))
    return key


def _with_status(key: ApiKey, status: ApiKeyStatus) -> ApiKey:
    if key.status != status:
        key.status = status
        key.save(update_fields=["status", "updated_at"])
    return key


def _in_order(permissions: Iterable[ApiKeyPermission]) -> list[str]:
    asked = set(permissions)
    return [permission.value for permission in ApiKeyPermission if permission in asked]
