"""What tests of buying have in common."""

from typing import Any

from rest_framework.test import APIClient

from credits.kinds import CREDIT
from credits.ledger import settled_balance
from credits.models import Account, Customer, RefundRequest, Reversal, StripeEvent, TopUp, Transfer
from tests.fake_stripe import FakeStripe

WEBHOOK = "/api/credits/stripe_webhook"


def rows() -> list[Any]:
    """All that buying could change."""
    models = (Account, Transfer, TopUp, RefundRequest, Reversal, StripeEvent, Customer)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


def credits_of(user: Any) -> int:
    """A user's balance in whole credits, however it is counted."""
    return settled_balance(user.pk) // CREDIT


def hear(stripe: FakeStripe, event: dict[str, Any], client: APIClient | None = None) -> str:
    """Post a webhook as Stripe does; returns what came of it."""
    answer = posted(*stripe.signed(event), client=client)
    assert (answer.status_code, answer.content) == (200, b""), answer.content
    return StripeEvent.objects.get(pk=event["id"]).outcome


def posted(body: bytes, signature: str | None, client: APIClient | None = None) -> Any:
    """Post a webhook with this signature."""
    headers = {} if signature is None else {"Stripe-Signature": signature}
    poster = client or APIClient(raise_request_exception=False)
    return poster.post(WEBHOOK, body, content_type="application/json", headers=headers)


def begun(api: APIClient, amount: int = 1000) -> TopUp:
    """A purchase whose page is open."""
    answer = api.post("/api/credits", {"credit_amount": amount}, format="json")
    assert answer.status_code == 200, answer.json()
    return TopUp.objects.order_by("-created_at", "-pk")[0]


def bought(stripe: FakeStripe, api: APIClient, amount: int = 1000, off: int = 0) -> TopUp:
    """A purchase that was paid and credited."""
    top_up = begun(api, amount)
    assert hear(stripe, stripe.account.pay(str(top_up.checkout_id), off=off)) == "credited"
    top_up.refresh_from_db()
    return top_up
