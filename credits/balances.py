"""What a user has to spend, under each model of use."""

from datetime import UTC, date, datetime
from functools import lru_cache
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Sum

from credits import ledger
from credits.kinds import CREDIT, Kind, Mode
from credits.models import Account, Hold

# What the contract shows where nothing is metered.
UNMETERED = 100 * CREDIT


def mode() -> Mode:
    """How this installation is paid for."""
    return Mode(settings.CREDITS)


def balance_of(user_id: UUID) -> int:
    """What a user can spend, in micro-credits: always 100 credits while credits are disabled.

    With the monthly model the first look in a month, by the calendar of UTC, fills it up.
    """
    if mode() is Mode.DISABLED:
        return UNMETERED
    if mode() is Mode.MONTHLY:
        refill(user_id)
    return ledger.settled_balance(user_id)


def refill(user_id: UUID) -> None:
    """Fill a user's balance, with what is on hold, up to the monthly credits, if that has not been done this month."""
    today = datetime.now(UTC).date()
    account = Account.objects.filter(user_id=user_id).first()
    if account is not None and not _is_due(account, today):
        return
    with transaction.atomic():
        Account.objects.bulk_create([Account(user_id=user_id)], ignore_conflicts=True)
        account = Account.objects.locked(user_id)
        if account is None or not _is_due(account, today):
            return
        missing = settings.MONTHLY_CREDITS * CREDIT - account.balance - _on_hold(user_id)
        if missing > 0:
            key = f"grant:monthly-{today:%Y-%m}:{user_id}"
            ledger.credit(user_id, missing, kind=Kind.GRANT, key=key, reason="Monthly credits")
        Account.objects.filter(user_id=user_id).update(refilled_on=today)


def _on_hold(user_id: UUID) -> int:
    """What runs have set aside. It goes from and to the balance only under the lock of the account."""
    held = Hold.objects.filter(user_id=user_id, released_at=None).aggregate(held=Sum(F("amount") + F("pool")))["held"]
    return int(held or 0)


def refill_this_month(user_id: UUID) -> None:
    """The same; what this process has seen to in this month it does not look at again."""
    if connection.in_atomic_block:
        # Nobody knows yet whether it will have happened.
        refill(user_id)
        return
    today = datetime.now(UTC).date()
    _refill_once(user_id, today.year, today.month)


@lru_cache(maxsize=100_000)
def _refill_once(user_id: UUID, year: int, month: int) -> None:
    refill(user_id)


def _is_due(account: Account, today: date) -> bool:
    last = account.refilled_on
    return last is None or (last.year, last.month) != (today.year, today.month)
