"""Charge a saved card when credits run low, without being asked: at most once for each occasion."""

import logging
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from core.errors import Invalid
from core.ids import uuid7
from credits import ledger, queue
from credits.balances import balance_of, mode
from credits.errors import CreditsDisabled
from credits.kinds import CREDIT, Kind, Mode, Party
from credits.models import Customer, Hold, TopUp, TopUpKind, Transfer
from credits.payments import processor
from credits.payments.errors import (
    AutoTopUpInvalid,
    CardRefused,
    CustomerGone,
    NoCard,
    PaymentRefused,
    TooManyTopUps,
    TopUpUnderWay,
)
from credits.payments.objects import TOP_UP
from credits.payments.top_ups import LEAST, MOST, credit_charge, customer_of, fail

log = logging.getLogger(__name__)

# After a card was refused nobody tries again for so long.
PAUSE = timedelta(hours=1)
# However many runs use up what was bought.
MOST_A_DAY = 24
_DAY = timedelta(hours=24)
_MOST_NOTICED = 500
_MOST_OCCASIONS = 100
# Stripe forgets idempotency keys after 24 hours: from then on only looking is safe.
_KEYS_LAST = timedelta(hours=20)


def configure(user: User, threshold: int, amount: int) -> None:
    """Have `amount` credits bought whenever fewer than `threshold` are left; an amount of 0 switches it off.

    With fewer left now, the card is charged at once, otherwise checked for nothing. Raises `CreditsDisabled`,
    `AutoTopUpInvalid`, `NoCard`, `CardRefused`, `TopUpUnderWay` and what Stripe's silence raises; then what was
    configured before stays.
    """
    if threshold < 0 or amount < 0 or amount > MOST or 0 < amount < LEAST or 0 < amount < threshold:
        raise AutoTopUpInvalid(f"{amount} credits cannot be bought automatically below {threshold}")
    if mode() is Mode.DISABLED:
        raise CreditsDisabled
    if amount == 0:
        Customer.objects.filter(user=user).update(auto_threshold=0, auto_amount=0)
        return
    customer = customer_of(user)
    cards = _cards(customer)
    if not cards:
        raise NoCard
    if balance_of(user.pk) < threshold * CREDIT:
        _charge(_attempt(customer, cards, threshold, amount, _attempt_of(user.pk, f"set-{uuid7()}")), customer)
    else:
        key = f"check:{user.pk}:{uuid7()}"
        processor.check_card(customer.stripe_id, cards[0], key=key)
        ledger.record_card_check(user.pk, key=key)
    Customer.objects.filter(pk=customer.pk).update(auto_threshold=threshold, auto_amount=amount)


def configured(user: User) -> tuple[int, int]:
    """The threshold and the amount of `user`; both are 0 when nothing is bought automatically."""
    customer = Customer.objects.filter(user=user).first()
    return (customer.auto_threshold, customer.auto_amount) if customer else (0, 0)


def notice_low() -> int:
    """Have workers charge the cards of whoever wants that and has few credits left; returns how many there are.

    For each of them once for what took the credits: a run that used them or has some set aside, or else the transfer.
    """
    if mode() is Mode.DISABLED:
        return 0
    customers = list(Customer.objects.low(timezone.now() - PAUSE).order_by("pk")[:_MOST_NOTICED])
    noticed = 0
    for user_id in (customer.user_id for customer in customers):
        attempts = {_attempt_of(user_id, occasion): occasion for occasion in _occasions(user_id)}
        tried = set(TopUp.objects.filter(attempt__in=attempts).values_list("attempt", flat=True))
        untried = [occasion for attempt, occasion in attempts.items() if attempt not in tried]
        if untried and _tried_today(user_id) < MOST_A_DAY:
            queue.top_up(user_id, untried[0])
            noticed += 1
    return noticed


def _occasions(user_id: UUID) -> list[str]:
    """What has taken credits of the user lately: what did last, and each run that is under way."""
    newest = Transfer.objects.filter(user_id=user_id, debit=Party.USER).order_by("-at", "-id").first()
    holds = Hold.objects.filter(user_id=user_id)
    under_way = holds.filter(released_at=None).order_by("-placed_at", "-pk").values_list("root_id", flat=True)
    found = [str(root_id) for root_id in under_way[:_MOST_OCCASIONS]]
    if newest is None:
        return found
    if newest.kind != Kind.USAGE or newest.run_id is None:
        return [f"transfer-{newest.pk}", *found]
    # What a run calls belongs to it.
    root_id = holds.filter(pk=newest.run_id).values_list("root_id", flat=True).first()
    return [str(root_id or newest.run_id), *found]


def top_up_if_low(user_id: UUID, occasion: str) -> bool:
    """Charge the user's card if they want that and have few credits left; returns whether it was charged.

    Once for each `occasion`, whatever comes of it: the id of a run, or of another transfer; and no more than
    `MOST_A_DAY` times within 24 hours.
    """
    customer = _wanting(user_id)
    if customer is None:
        return False
    attempt = _attempt_of(user_id, occasion)
    if TopUp.objects.filter(attempt=attempt).exists():
        return False
    try:
        cards = _cards(customer)
        # Without a card, too: what failed has a pause.
        wish = customer.auto_threshold, customer.auto_amount, attempt
        _charge(_attempt(customer, cards, *wish, is_limited=True), customer)
    except (TopUpUnderWay, TooManyTopUps, NoCard, CardRefused, PaymentRefused) as error:
        log.info("No automatic top-up for user %s: %s", user_id, error)
        return False
    return True


def settle(top_up: TopUp) -> None:
    """Find out what became of an automatic top-up whose outcome nobody heard, or do it again under the same keys."""
    customer = Customer.objects.filter(user=top_up.user_id).first()
    if customer is None:
        fail(top_up, "The account is gone")
        return
    try:
        charges = processor.charges_of(customer.stripe_id, int(top_up.created_at.timestamp()) - 60)
    except CustomerGone as error:
        fail(top_up, error.message)
        return
    for intent in charges:
        if intent.link(TOP_UP) == top_up.pk and intent.status == "succeeded":
            credit_charge(intent)
            return
    if top_up.created_at < timezone.now() - _KEYS_LAST:
        fail(top_up, "The card was not charged")
        return
    try:
        _charge(top_up, customer)
    except (NoCard, CardRefused, PaymentRefused) as error:
        log.info("No automatic top-up for user %s: %s", top_up.user_id, error)


def _attempt_of(user_id: UUID, occasion: str) -> str:
    return f"auto:{user_id}:{occasion}"


def _tried_today(user_id: UUID) -> int:
    """How often credits were bought without being asked within 24 hours, or tried to be."""
    automatic = TopUp.objects.filter(user=user_id, kind=TopUpKind.AUTOMATIC)
    return automatic.filter(created_at__gt=timezone.now() - _DAY).count()


def _cards(customer: Customer) -> list[str]:
    try:
        return processor.cards(customer.stripe_id)
    except CustomerGone:
        return []


def _wanting(user_id: UUID) -> Customer | None:
    customer = Customer.objects.low(timezone.now() - PAUSE).filter(user=user_id).first()
    # The look at a balance may fill it up for the month.
    is_low = customer is not None and balance_of(user_id) < customer.auto_threshold * CREDIT
    return customer if is_low and mode() is not Mode.DISABLED else None


def _attempt(
    customer: Customer, cards: list[str], threshold: int, amount: int, attempt: str, *, is_limited: bool = False
) -> TopUp:
    try:
        with transaction.atomic():
            top_up = TopUp.objects.create(
                user_id=customer.user_id, kind=TopUpKind.AUTOMATIC, amount=amount, attempt=attempt, cards=cards
            )
            # Looked at again: the row above may have waited for another one that has just been paid.
            if balance_of(customer.user_id) >= threshold * CREDIT:
                raise TopUpUnderWay
            if is_limited and _tried_today(customer.user_id) > MOST_A_DAY:
                raise TooManyTopUps
            return top_up
    except IntegrityError:
        raise TopUpUnderWay from None


def _charge(top_up: TopUp, customer: Customer) -> None:
    """Charge the cards one after the other until one is not refused. Done again, it charges nothing again."""
    refusal: Invalid = NoCard()
    for card in top_up.cards:
        try:
            intent = processor.charge(
                customer.stripe_id, card, top_up.amount, {TOP_UP: str(top_up.pk)}, key=f"{top_up.attempt}:{card}"
            )
        except (CardRefused, PaymentRefused) as error:
            refusal = error
            continue
        credit_charge(intent)
        return
    fail(top_up, refusal.message)
    raise refusal
