"""Buy credits on a page of Stripe's, and credit what was paid once, whoever brings the news and however often."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import TypeVar

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from core.errors import DomainError
from credits import ledger
from credits.balances import mode
from credits.kinds import CREDIT, Kind, Mode
from credits.models import Customer, TopUp, TopUpKind, TopUpStatus, lock_payment
from credits.payments import processor, reversals
from credits.payments.errors import CustomerGone, PaymentsUnavailable, PurchaseInvalid
from credits.payments.objects import TOP_UP, Checkout, Intent

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

LEAST = 500
STEP = 100
# What Stripe takes at once.
MOST = 99_999_900
# For so long a page of Stripe's can be paid on.
OPEN_FOR = timedelta(hours=24)
NOT_PAID_ON = "The page was not paid on"
_MOST_CONFIRMED = 5


def start_checkout(user: User, amount: int) -> str:
    """Return the address of a page on which `user` pays for `amount` credits; empty while credits are disabled.

    Raises `PurchaseInvalid`, `PaymentsOff` and `PaymentRefused`, and then nothing is kept; and `PaymentsUnavailable`.
    """
    if amount < LEAST or amount > MOST or amount % STEP:
        raise PurchaseInvalid(f"{amount} credits cannot be bought: it must be 500 to {MOST:,} in steps of {STEP}")
    if mode() is Mode.DISABLED:
        return ""
    customer = customer_of(user)
    top_up = TopUp.objects.create(user=user, kind=TopUpKind.CHECKOUT, amount=amount)
    try:
        session = as_customer(customer, partial(_open_page, top_up))
    except PaymentsUnavailable:
        # The page may be there all the same: if somebody pays on it, this row tells for whom.
        raise
    except DomainError:
        top_up.delete()
        raise
    TopUp.objects.filter(pk=top_up.pk).update(checkout_id=session.id)
    return session.url or ""


def confirm(user: User) -> None:
    """Ask Stripe about what `user` began to buy lately, and credit what is paid by now."""
    recent = TopUp.objects.visible_to(user).filter(
        kind=TopUpKind.CHECKOUT,
        status=TopUpStatus.PENDING,
        checkout_id__isnull=False,
        created_at__gte=timezone.now() - 2 * OPEN_FOR,
    )
    for top_up in recent.order_by("-created_at", "-pk")[:_MOST_CONFIRMED]:
        settle_checkout(top_up)


def settle_checkout(top_up: TopUp) -> None:
    """Ask Stripe how a checkout stands, and credit it if it is paid."""
    if top_up.checkout_id is None:
        fail(top_up, "No page was opened")
        return
    session = processor.checkout(top_up.checkout_id)
    if session.is_paid:
        credit_checkout(session)
    elif session.status == "expired":
        fail(top_up, NOT_PAID_ON)
    else:
        TopUp.objects.filter(pk=top_up.pk).update(updated_at=timezone.now())


def customer_of(user: User) -> Customer:
    """The user as Stripe's customer, who is made if need be; raises what Stripe's refusal or silence raises."""
    processor.require()
    known = Customer.objects.filter(user=user).first()
    return known or Customer.objects.get_or_create(user=user, defaults={"stripe_id": _new_customer(user)})[0]


def as_customer(customer: Customer, ask: Callable[[str], Answer]) -> Answer:
    """Ask Stripe for this customer; for one that was deleted there, or is of another account, a new one is made."""
    try:
        return ask(customer.stripe_id)
    except CustomerGone:
        gone, customer.stripe_id = customer.stripe_id, _new_customer(customer.user, instead_of=customer.stripe_id)
        Customer.objects.filter(pk=customer.pk, stripe_id=gone).update(stripe_id=customer.stripe_id)
        return ask(customer.stripe_id)


def _new_customer(user: User, instead_of: str = "") -> str:
    # Another address in the meantime would be another request, which must not come with the same key.
    key = f"customer:{user.pk}:{sha256(user.email.encode()).hexdigest()[:16]}:{instead_of}"
    return processor.create_customer(str(user.pk), user.email, key=key)


def _open_page(top_up: TopUp, customer: str) -> Checkout:
    site = settings.FRONTEND_URL.rstrip("/")
    return processor.create_checkout(
        customer,
        top_up.amount,
        {TOP_UP: str(top_up.pk)},
        success=f"{site}/profile/credits?topup=success",
        cancel=f"{site}/profile/credits?topup=cancel",
        key=f"checkout:{top_up.pk}:{customer}",
    )


def credit_checkout(session: Checkout) -> str:
    """Credit what a checkout session paid for, if it did and was not credited; says what came of it."""
    if not session.is_paid:
        return "not paid yet"
    with transaction.atomic():
        lock_payment(session.payment_id)
        top_up = _locked_for(session)
        if top_up is None:
            return "not ours"
        if session.currency != processor.CURRENCY or session.amount_subtotal != top_up.amount:
            log.error("Checkout %s is not about %d cents, as top-up %s is", session.id, top_up.amount, top_up.pk)
            return "not what was offered"
        return _credit(top_up, session.payment_id, session.amount_total or 0)


def credit_charge(intent: Intent) -> str:
    """Credit what an automatic top-up charged, if it did and was not credited; says what came of it."""
    link = intent.link(TOP_UP)
    if intent.status != "succeeded" or link is None:
        return "not paid yet" if link else "not ours"
    with transaction.atomic():
        lock_payment(intent.id)
        top_up = TopUp.objects.locked(pk=link, kind=TopUpKind.AUTOMATIC)
        if top_up is None:
            return "not an automatic top-up"
        if intent.currency != processor.CURRENCY or intent.amount_received != top_up.amount:
            log.error("Payment %s is not of %d cents, as top-up %s is", intent.id, top_up.amount, top_up.pk)
            return "not what was to be charged"
        return _credit(top_up, intent.id, intent.amount_received)


def fail(top_up: TopUp, failure: str) -> None:
    """Write down that nothing came of a top-up, unless it was paid; it is still credited if it turns out to be."""
    TopUp.objects.filter(pk=top_up.pk, status=TopUpStatus.PENDING).update(
        status=TopUpStatus.FAILED, failure=failure, updated_at=timezone.now()
    )


def fail_checkout(session: Checkout, failure: str) -> str:
    """Write down that nothing came of a checkout session; says what came of it."""
    top_up = _of(session)
    if top_up is None:
        return "not ours"
    fail(top_up, failure)
    return failure


def _of(session: Checkout) -> TopUp | None:
    link = session.link(TOP_UP)
    return None if link is None else TopUp.objects.filter(pk=link, kind=TopUpKind.CHECKOUT).first()


def _locked_for(session: Checkout) -> TopUp | None:
    # By our own id: the news of a payment may be here before the session's id is written down.
    link = session.link(TOP_UP)
    return None if link is None else TopUp.objects.locked(pk=link, kind=TopUpKind.CHECKOUT)


def _credit(top_up: TopUp, payment_id: str, paid: int) -> str:
    if top_up.status == TopUpStatus.PAID:
        return "credited before" if top_up.payment_id == payment_id else "paid twice"
    top_up.status, top_up.payment_id = TopUpStatus.PAID, payment_id
    top_up.paid, top_up.paid_at, top_up.failure = paid, timezone.now(), ""
    top_up.save()
    ledger.credit(
        top_up.user_id,
        top_up.amount * CREDIT,
        kind=Kind.TOP_UP,
        key=top_up.key,
        reason="Automatic top-up" if top_up.kind == TopUpKind.AUTOMATIC else "Top-up",
        metadata={"top_up": str(top_up.pk), "payment": payment_id},
    )
    reversals.apply_waiting(top_up)
    return "credited"
