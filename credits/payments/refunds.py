"""Refunds that users ask for: small ones are sent at once, others when somebody who operates the platform agrees."""

import logging
import re
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.models import User
from credits import queue
from credits.errors import DecidedBefore
from credits.kinds import CREDIT
from credits.ledger import settled_balance
from credits.models import RefundRequest, RefundStatus, TopUp, TopUpStatus
from credits.notices import tell_refund
from credits.payments import processor, reversals
from credits.payments.errors import (
    AlreadyAsked,
    NoSuchTopUp,
    PaymentRefused,
    PaymentsUnavailable,
    RefundInvalid,
)
from credits.payments.objects import REFUND_REQUEST, Stage

log = logging.getLogger(__name__)

# Credits by which the balance may fall short of a refund that nobody has to agree to.
TOLERANCE = 500 * CREDIT
_WEEK = "%Y-%W"
_KEY = re.compile(r"topup:(\w{1,200})", re.ASCII)


def ask_refund(user: User, transaction_key: str, reason: str, amount: int | None = None) -> int:
    """Ask for `amount` cents of a top-up back, all that is left of it unless told otherwise.

    Returns the cents that were sent back, or 0 when that waits for a person or for Stripe. Raises `NoSuchTopUp`,
    `RefundInvalid`, `AlreadyAsked` and `PaymentsOff`; then nothing is asked for.
    """
    processor.require()
    with transaction.atomic():
        request = _ask(user, transaction_key, reason, amount)
        if request.status == RefundStatus.WAITING:
            queue.mail_refund_request(request.pk)
            return 0
    try:
        send_refund(request)
    except PaymentsUnavailable as error:
        log.warning("Refund %s will be sent later: %s", request.pk, error)
    request.refresh_from_db()
    return request.amount if request.status == RefundStatus.REFUNDED else 0


def approve(request_id: UUID, decided_by: User) -> None:
    """Send a refund that waits for a person. Raises `DecidedBefore`, `PaymentsOff` and `PaymentRefused`."""
    processor.require()
    send_refund(_decide(request_id, decided_by, RefundStatus.SENDING, ""))


def reject(request_id: UUID, decided_by: User, result: str = "It was rejected") -> None:
    """Let nothing come of a refund that waits for a person. Raises `DecidedBefore`."""
    _decide(request_id, decided_by, RefundStatus.REJECTED, result)


def send_refund(request: RefundRequest) -> None:
    """Have Stripe send the money of a request; done again, it sends nothing again.

    Raises `PaymentRefused`, when nothing came of it for good, and `PaymentsUnavailable`, when it is tried again later.
    """
    payment_id = request.top_up.payment_id
    if payment_id is None:
        return
    try:
        refund = processor.refund(
            payment_id, request.amount, {REFUND_REQUEST: str(request.pk)}, key=f"refund:{request.pk}"
        )
    except PaymentRefused as error:
        with transaction.atomic():
            RefundRequest.objects.filter(pk=request.pk, status=RefundStatus.SENDING).update(
                status=RefundStatus.FAILED, result=error.message, updated_at=timezone.now()
            )
            tell_refund(request.pk)
        raise
    reversals.record(refund)


def settle(request: RefundRequest) -> None:
    """Find out what became of a refund of which nobody heard, and send it if it is not there."""
    if request.top_up.payment_id is None:
        return
    for refund in processor.refunds_of(request.top_up.payment_id):
        if refund.link(REFUND_REQUEST) == request.pk:
            reversals.record(refund)
            return
    send_refund(request)


def refundable(top_up: TopUp) -> int:
    """The cents of a top-up that neither went back nor are asked back; exact while the top-up is locked."""
    gone = top_up.reversals.exclude(stage=Stage.DROPPED).aggregate(cents=Sum("amount"))["cents"] or 0
    asked = (
        top_up.refund_requests.filter(
            status__in=[RefundStatus.WAITING, RefundStatus.SENDING], stripe_id=None
        ).aggregate(cents=Sum("amount"))["cents"]
        or 0
    )
    return max((top_up.paid or 0) - gone - asked, 0)


def _ask(user: User, transaction_key: str, reason: str, amount: int | None) -> RefundRequest:
    # Two requests at once, for two top-ups, would both count on the same balance.
    User.objects.lock(user.pk)
    key = _KEY.fullmatch(transaction_key)
    top_up = key and TopUp.objects.locked(user=user, payment_id=key[1], status=TopUpStatus.PAID)
    if top_up is None or top_up.paid_at is None:
        raise NoSuchTopUp(transaction_key=transaction_key)
    left = refundable(top_up)
    wanted = left if amount is None else amount
    week = top_up.paid_at.strftime(_WEEK)
    if user_asked(user, week):
        raise AlreadyAsked
    if wanted <= 0 or wanted > left:
        raise RefundInvalid(f"{wanted} cents cannot be refunded: {left} of {top_up.paid} are left", refundable=left)
    # Asked in this order: what goes in between counts twice rather than not at all.
    going = _going(user)
    short = reversals.credits_for(top_up, wanted) + going - settled_balance(user.pk)
    try:
        with transaction.atomic():
            return RefundRequest.objects.create(
                user=user,
                top_up=top_up,
                amount=wanted,
                reason=reason,
                week=week,
                status=RefundStatus.WAITING if short > TOLERANCE else RefundStatus.SENDING,
            )
    except IntegrityError:
        raise AlreadyAsked from None


def _going(user: User) -> int:
    """The micro-credits that refunds under way will take from the balance once Stripe says that the money went."""
    sending = RefundRequest.objects.visible_to(user).filter(status=RefundStatus.SENDING).select_related("top_up")
    return sum(reversals.credits_for(request.top_up, request.amount) for request in sending)


def user_asked(user: User, week: str) -> bool:
    """Whether something of a top-up of this week was asked back, and did not fail."""
    return RefundRequest.objects.visible_to(user).filter(week=week).exclude(status=RefundStatus.FAILED).exists()


def _decide(request_id: UUID, decided_by: User, status: RefundStatus, result: str) -> RefundRequest:
    with transaction.atomic():
        request = RefundRequest.objects.locked(request_id)
        if request is None or request.status != RefundStatus.WAITING:
            raise DecidedBefore
        request.status, request.result, request.decided_by = status, result, decided_by
        request.save()
        tell_refund(request.pk)
    return request
