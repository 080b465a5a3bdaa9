"""The one way to Stripe: its official SDK, which is an optional dependency and needs a key.

No call is made inside a database transaction: a slow answer would hold its locks. Each call that moves money has an
idempotency key of ours, so that it can be repeated after a failure whose outcome nobody knows.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.db import transaction

from core import strict_json
from credits.payments.errors import (
    CardRefused,
    CustomerGone,
    PaymentRefused,
    PaymentsOff,
    PaymentsUnavailable,
    WebhookRefused,
)
from credits.payments.objects import Checkout, Dispute, Event, Intent, Refund, Setup

CONNECT_SECONDS = 5
SILENCE_SECONDS = 20
RETRIES = 2
# How old the signature of a webhook may be, in seconds.
TOLERANCE = 300
CURRENCY = "usd"
MAX_EVENT_BYTES = 1024 * 1024

Metadata = Mapping[str, str]


def require() -> None:
    """Raise `PaymentsOff` when nothing can be bought here."""
    _client()


def is_installed() -> bool:
    """Whether the package that speaks to Stripe is there."""
    return find_spec("stripe") is not None


def create_customer(user_id: str, email: str, *, key: str) -> str:
    """Make a customer and return its id."""
    return str(_ask(lambda v1: v1.customers.create({"email": email, "metadata": {"user": user_id}}, _once(key)))["id"])


def create_checkout(customer: str, amount: int, metadata: Metadata, *, success: str, cancel: str, key: str) -> Checkout:
    """Open a page on which the customer pays `amount` cents, and leaves the card for later."""
    params = {
        "customer": customer,
        "mode": "payment",
        "line_items": [
            {
                "price_data": {
                    "currency": CURRENCY,
                    "product_data": {"name": f"{amount} credits"},
                    "unit_amount": amount,
                },
                "quantity": 1,
            }
        ],
        "payment_intent_data": {"setup_future_usage": "off_session", "metadata": metadata},
        "allow_promotion_codes": True,
        "metadata": metadata,
        "success_url": success,
        "cancel_url": cancel,
    }
    return Checkout.model_validate(_ask(lambda v1: v1.checkout.sessions.create(params, _once(key))))


def checkout(checkout_id: str) -> Checkout:
    """A checkout session as it is now."""
    return Checkout.model_validate(_ask(lambda v1: v1.checkout.sessions.retrieve(checkout_id)))


def portal_url(customer: str, *, back: str) -> str:
    """The address of a page on which the customer manages cards and receipts."""
    params = {"customer": customer, "return_url": back}
    return str(_ask(lambda v1: v1.billing_portal.sessions.create(params))["url"])


def cards(customer: str) -> list[str]:
    """The ids of the customer's saved cards, newest first."""
    found = _ask(lambda v1: v1.customers.payment_methods.list(customer, {"type": "card", "limit": 10}))
    return [str(card["id"]) for card in found["data"]]


def charge(customer: str, card: str, amount: int, metadata: Metadata, *, key: str) -> Intent:
    """Charge a saved card while its owner is away; raises `CardRefused`, also when the owner would have to confirm."""
    params = {
        "amount": amount,
        "currency": CURRENCY,
        "customer": customer,
        "payment_method": card,
        "payment_method_types": ["card"],
        "off_session": True,
        "confirm": True,
        "error_on_requires_action": True,
        "description": f"{amount} credits, bought automatically",
        "metadata": metadata,
    }
    return Intent.model_validate(_ask(lambda v1: v1.payment_intents.create(params, _once(key))))


def charges_of(customer: str, since: int) -> Iterator[Intent]:
    """The customer's payment intents that were made at or after `since`, in Unix seconds."""
    params = {"customer": customer, "created": {"gte": since}, "limit": 100}
    found = _ask(lambda v1: v1.payment_intents.list(params))
    return (Intent.model_validate(each) for each in found["data"])


def check_card(customer: str, card: str, *, key: str) -> None:
    """Ask whether a saved card can be charged while its owner is away, for nothing; raises `CardRefused`."""
    params = {
        "customer": customer,
        "payment_method": card,
        "payment_method_types": ["card"],
        "usage": "off_session",
        "confirm": True,
    }
    setup = Setup.model_validate(_ask(lambda v1: v1.setup_intents.create(params, _once(key))))
    if setup.status != "succeeded":
        raise CardRefused("The bank wants the card's owner to confirm it")


def refund(payment_id: str, amount: int, metadata: Metadata, *, key: str) -> Refund:
    """Give `amount` cents of a payment back; raises `PaymentRefused`."""
    params = {"payment_intent": payment_id, "amount": amount, "metadata": metadata}
    return Refund.model_validate(_ask(lambda v1: v1.refunds.create(params, _once(key))))


def refunds_of(payment_id: str) -> Iterator[Refund]:
    """What was given back of a payment, or will be."""
    found = _ask(lambda v1: v1.refunds.list({"payment_intent": payment_id, "limit": 100}))
    return (Refund.model_validate(each) for each in found["data"])


def concede(dispute_id: str) -> Dispute:
    """Give the dispute up: the customer's bank keeps the money."""
    return Dispute.model_validate(_ask(lambda v1: v1.disputes.close(dispute_id, {}, _once(f"concede:{dispute_id}"))))


def contest(dispute_id: str, evidence: str) -> Dispute:
    """Answer the dispute with this text."""
    params = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    key = f"contest:{dispute_id}"
    return Dispute.model_validate(_ask(lambda v1: v1.disputes.update(dispute_id, params, _once(key))))


def export(since: int, until: int) -> Iterator[dict[str, Any]]:
    """Stripe's own books: each balance transaction made in these Unix seconds, with the charge or refund behind it."""
    params: dict[str, Any] = {"created": {"gte": since, "lt": until}, "expand": ["data.source"], "limit": 100}
    has_more = True
    while has_more:
        page = _ask(partial(_balance_page, params))
        yield from page["data"]
        has_more = page["has_more"]
        params = {**params, "starting_after": page["data"][-1]["id"]} if has_more else params


def _balance_page(params: dict[str, Any], v1: Any) -> Any:
    return v1.balance_transactions.list(params)


def signed_event(body: bytes, signature: str) -> Event:
    """The event in a webhook's raw body.

    Raises `WebhookRefused` unless it was signed with one of our secrets within the last minutes and is an event.
    """
    stripe = _sdk()
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise PaymentsOff("Without STRIPE_WEBHOOK_SECRET nobody knows whether Stripe sent this")
    if len(body) > MAX_EVENT_BYTES:
        raise WebhookRefused("The event is larger than 1 MB")
    if not any(_is_signed(stripe, body, signature, secret) for secret in settings.STRIPE_WEBHOOK_SECRETS):
        raise WebhookRefused("The signature is missing, wrong or older than 5 minutes")
    try:
        return Event.model_validate(strict_json.parse(body))
    except (strict_json.MalformedJSON, ValueError) as error:
        raise WebhookRefused(f"The body is not an event: {str(error).splitlines()[0]}") from None


def _is_signed(stripe: Any, body: bytes, signature: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, TOLERANCE)
    # Bytes that are no text, and a signature with characters that it compares with no others.
    except (stripe.SignatureVerificationError, UnicodeDecodeError, TypeError):
        return False
    return True


def _once(key: str) -> dict[str, str]:
    return {"idempotency_key": key}


def _ask(call: Callable[[Any], Any]) -> dict[str, Any]:
    """What Stripe answers, as plain data; raises the errors of this app."""
    client = _client()
    with transaction.atomic(durable=True):
        pass  # raises when a transaction is open
    stripe = _sdk()
    try:
        answer: dict[str, Any] = call(client.v1).to_dict()
    except stripe.CardError as error:
        raise CardRefused(error.user_message or "The card was refused") from None
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise PaymentsOff(f"Stripe does not accept the key: {error}") from None
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing" and error.param == "customer":
            raise CustomerGone from None
        raise PaymentRefused(f"Stripe refused: {error.user_message or error}") from None
    except stripe.StripeError as error:
        raise PaymentsUnavailable(f"Stripe does not answer: {error}") from None
    return answer


def _sdk() -> Any:
    try:
        import stripe
    except ImportError:
        raise PaymentsOff("The package that speaks to Stripe is not installed") from None
    return stripe


def _client() -> Any:
    if not settings.STRIPE_API_KEY:
        raise PaymentsOff
    return _made_client(settings.STRIPE_API_KEY, settings.STRIPE_API_BASE)


@cache
def _made_client(api_key: str, base: str) -> Any:
    stripe = _sdk()
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": base},
        http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, SILENCE_SECONDS)),
        max_network_retries=RETRIES,
    )
