"""Changes of balances by administrators: each with a reason, large ones by two of them."""

from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
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
)
from credits.kinds import CREDIT, Kind, Mode
from credits.ledger import Posted
from credits.models import Adjustment, Transfer


def adjust(admin: User, user_id: UUID, amount: int, *, reason: str, request_key: str = "") -> tuple[Posted, str]:
    """Give a user micro-credits, or take some; returns the transfer and its key.

    A `request_key` makes it once, and asks once. Beyond `TASKLOOM_ADJUSTMENT_LIMIT` nothing moves yet: the wish is kept
    and `NeedsAnother` raised. Raises `CreditsDisabled`, `NoSuchUser`, `NeedsReason`, `AmountInvalid`, `KeyTaken` when
    the key came with another change, `DecidedBefore` when this one was refused and, when the user has less,
    `InsufficientCredits`.
    """
    if mode() is Mode.DISABLED:
        raise CreditsDisabled
    if not User.objects.filter(pk=user_id).exists():
        raise NoSuchUser(user_id=str(user_id))
    if not reason.strip():
        raise NeedsReason
    ledger.check_amount(abs(amount))
    adjustment_id = uuid5(admin.pk, request_key) if request_key else uuid7()
    key = f"adjust:{adjustment_id}"
    if not (request_key and Transfer.objects.filter(key=key).exists()):
        wish = Adjustment(pk=adjustment_id, user_id=user_id, amount=amount, reason=reason, asked_by=admin.pk)
        _let_another_decide(wish)
    return _post(user_id, amount, key, reason, {"admin_id": str(admin.pk)}), key


def _let_another_decide(wish: Adjustment) -> None:
    """Keep a large wish, once for its id; one that may be made at once is let through, unless its id was kept."""
    if abs(wish.amount) > settings.ADJUSTMENT_LIMIT * CREDIT:
        Adjustment.objects.bulk_create([wish], ignore_conflicts=True)
    kept = Adjustment.objects.filter(pk=wish.pk).first()
    if kept is None:
        return
    if (kept.user_id, kept.amount, kept.reason) != (wish.user_id, wish.amount, wish.reason):
        raise KeyTaken("This key stands for another change of a balance", adjustment_id=str(kept.pk))
    if kept.approved is not None:
        raise DecidedBefore(adjustment_id=str(kept.pk))
    raise NeedsAnother(adjustment_id=str(kept.pk))


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
