"""Changes of balances by administrators: each with a reason, large ones, and many small ones, by two of them."""

from datetime import timedelta
from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.models import User
from core.errors import DomainError
from core.ids import uuid7
from credits import ledger
from credits.balances import mode
from credits.errors import (
    CreditsDisabled,
    DecidedBefore,
    KeyTaken,
    NeedsAnother,
    NeedsReason,
    NoSuchAdjustment,
    NoSuchUser,
    shown,
)
from credits.kinds import CREDIT, Kind, Mode
from credits.ledger import Posted
from credits.models import Adjustment, Transfer

# For so long what an administrator moved alone counts towards the limit.
WINDOW = timedelta(hours=24)


def adjust(admin: User, user_id: UUID, amount: int, *, reason: str, request_key: str = "") -> tuple[Posted, str]:
    """Give a user micro-credits, or take some; returns the transfer and its key.

    A `request_key` makes it once, and asks once. What `admin` gives this user and takes from them within 24 hours,
    without another's consent, comes to `TASKLOOM_ADJUSTMENT_LIMIT` credits at most, both added up: a change that would
    make it more is not made yet, but kept as a wish, and `NeedsAnother` raised. Raises `CreditsDisabled`, `NoSuchUser`,
    `NeedsReason`, `AmountInvalid`, `KeyTaken` when the key came with another change, `DecidedBefore` when this one was
    refused and, when the user has less, `InsufficientCredits`.
    """
    if mode() is Mode.DISABLED:
        raise CreditsDisabled
    if not User.objects.filter(pk=user_id).exists():
        raise NoSuchUser(user_id=str(user_id))
    if not reason.strip():
        raise NeedsReason
    ledger.check_amount(abs(amount))
    adjustment_id = uuid5(admin.pk, request_key) if request_key else uuid7()
    wish = Adjustment(pk=adjustment_id, user_id=user_id, amount=amount, reason=reason, asked_by=admin.pk)
    with transaction.atomic():
        # Two at once would both count what was moved before either adds to it.
        User.objects.lock(admin.pk)
        refusal = None if _is_made(wish) else _let_another_decide(wish)
        if refusal is None:
            key = f"adjust:{adjustment_id}"
            return _post(user_id, amount, key, reason, {"admin_id": str(admin.pk)}), key
    # Only now, for the wish is to be kept.
    raise refusal


def _is_made(wish: Adjustment) -> bool:
    return Transfer.objects.filter(key=f"adjust:{wish.pk}").exists()


def _let_another_decide(wish: Adjustment) -> DomainError | None:
    """Keep a wish that is too large, once for its id, and say why it is not made; None if it may be made at once."""
    kept = Adjustment.objects.filter(pk=wish.pk).first()
    if kept is None:
        alone = _moved_alone(wish.asked_by, wish.user_id)
        if alone + abs(wish.amount) <= settings.ADJUSTMENT_LIMIT * CREDIT:
            return None
        wish.save(force_insert=True)
        return _needs_another(wish, alone)
    if (kept.user_id, kept.amount, kept.reason) != (wish.user_id, wish.amount, wish.reason):
        return KeyTaken("This key stands for another change of a balance", adjustment_id=str(kept.pk))
    if kept.approved is not None:
        return DecidedBefore(adjustment_id=str(kept.pk))
    return NeedsAnother(adjustment_id=str(kept.pk))


def _moved_alone(admin_id: UUID, user_id: UUID) -> int:
    """What an administrator gave a user and took from them lately, added up, but for what another approved."""
    changes = Transfer.objects.filter(
        user_id=user_id, kind=Kind.GRANT, at__gt=timezone.now() - WINDOW, metadata__admin_id=str(admin_id)
    ).exclude(metadata__has_key="approved_by")
    return int(changes.aggregate(moved=Sum("amount"))["moved"] or 0)


def _needs_another(wish: Adjustment, alone: int) -> NeedsAnother:
    if not alone:
        return NeedsAnother(adjustment_id=str(wish.pk))
    limit = f"{settings.ADJUSTMENT_LIMIT:,} credits"
    return NeedsAnother(
        f"You have moved {shown(alone)} credits of this account by yourself in the last 24 hours. Beyond {limit} "
        "another administrator has to approve: the change waits for that in the admin site",
        adjustment_id=str(wish.pk),
    )


def decide(admin: User, adjustment_id: UUID, *, approve: bool) -> Adjustment:
    """Approve or refuse what another administrator asked for; approved, it is posted.

    Whoever asked may only withdraw it. Raises `NoSuchAdjustment`, `DecidedBefore`, `NeedsAnother`, and
    `InsufficientCredits` when the user has less than is to be taken.
    """
    with transaction.atomic():
        wish = Adjustment.objects.locked(adjustment_id)
        if wish is None:
            raise NoSuchAdjustment(adjustment_id=str(adjustment_id))
        if wish.approved is not None:
            raise DecidedBefore
        if approve and wish.asked_by == admin.pk:
            raise NeedsAnother(adjustment_id=str(wish.pk))
        wish.approved, wish.decided_by, wish.decided_at = approve, admin.pk, timezone.now()
        wish.save()
        if approve:
            admins = {"admin_id": str(wish.asked_by), "approved_by": str(admin.pk)}
            _post(wish.user_id, wish.amount, f"adjust:{wish.pk}", wish.reason, admins)
    return wish


def _post(user_id: UUID, amount: int, key: str, reason: str, metadata: dict[str, str]) -> Posted:
    move = ledger.credit if amount > 0 else ledger.spend
    return move(user_id, abs(amount), kind=Kind.GRANT, key=key, reason=reason, metadata=metadata)
