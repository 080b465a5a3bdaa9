"""Changes of balances by administrators: each with a reason, large ones by two of them."""

from uuid import UUID, uuid4, uuid5

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from credits import ledger
from credits.balances import mode
from credits.errors import CreditsDisabled, DecidedBefore, NeedsAnother, NeedsReason, NoSuchAdjustment, NoSuchUser
from credits.kinds import CREDIT, Kind, Mode
from credits.ledger import Posted
from credits.models import Adjustment


def adjust(admin: User, user_id: UUID, amount: int, *, reason: str, request_key: str = "") -> tuple[Posted, str]:
    """Give a user micro-credits, or take some; returns the transfer and its key.

    A `request_key` makes it once. Beyond `TASKLOOM_ADJUSTMENT_LIMIT` nothing moves yet: the wish is kept and
    `NeedsAnother` raised. Raises `CreditsDisabled`, `NoSuchUser`, `NeedsReason`, `AmountInvalid` and, when the user has
    less, `InsufficientCredits`.
    """
    if mode() is Mode.DISABLED:
        raise CreditsDisabled
    if not User.objects.filter(pk=user_id).exists():
        raise NoSuchUser(user_id=str(user_id))
    if not reason.strip():
        raise NeedsReason
    ledger.check_amount(abs(amount))
    if abs(amount) > settings.ADJUSTMENT_LIMIT * CREDIT:
        wish = Adjustment.objects.create(user_id=user_id, amount=amount, reason=reason, asked_by=admin.pk)
        raise NeedsAnother(adjustment_id=str(wish.pk))
    key = f"adjust:{uuid5(admin.pk, request_key) if request_key else uuid4()}"
    return _post(user_id, amount, key, reason, {"admin_id": str(admin.pk)}), key


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
