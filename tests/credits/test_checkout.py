"""Buying credits on a page of Stripe's."""

import sys
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits.models import Customer, StripeEvent, TopUp, Transfer
from credits.payments import processor
from credits.payments.settling import settle_payments
from tests.credits.buying import begun, bought, credits_of, hear, posted, rows
from tests.fake_stripe import FakeStripe

OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("post", "/api/credits", {"credit_amount": 500}),
    ("patch", "/api/credits", {}),
    ("get", "/api/credits/manage", {}),
    ("post", "/api/credits/auto-top-up", {"threshold": 100, "amount": 500}),
    ("post", "/api/credits/topup:pi_1/refund", {"reason": "why not"}),
]


def test_buying_leads_to_a_page_of_stripes_for_this_user_and_amount(
    stripe: FakeStripe, api: APIClient, user: User, settings: Settings
) -> None:
    settings.FRONTEND_URL = "https://site.example/"
    answer = api.post("/api/credits", {"credit_amount": 700}, format="json")

    top_up = TopUp.objects.get()
    session = stripe.account.objects[str(top_up.checkout_id)]
    assert answer.json() == {"checkout_url": session["url"]}
    assert (top_up.user_id, top_up.amount, top_up.status, top_up.paid) == (user.pk, 700, "pending", None)
    assert (session["amount_total"], session["currency"], session["mode"]) == (700, "usd", "payment")
    assert session["metadata"] == {"top_up": str(top_up.pk)}
    assert session["success_url"] == "https://site.example/profile/credits?topup=success"
    assert session["cancel_url"] == "https://site.example/profile/credits?topup=cancel"
    customer = stripe.account.objects[Customer.objects.get(user=user).stripe_id]
    assert (session["customer"], customer["email"], customer["metadata"]) == (
        customer["id"],
        user.email,
        {"user": str(user.pk)},
    )
    assert stripe.asked[-1].params["payment_intent_data"]["setup_future_usage"] == "off_session"
    assert credits_of(user) == 0
    begun(api)
    assert stripe.changes() == ["customers", "checkout/sessions", "checkout/sessions"]


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        (499, 400, "purchase_invalid"),
        (550, 400, "purchase_invalid"),
        (400, 400, "purchase_invalid"),
        (0, 400, "purchase_invalid"),
        (-500, 400, "purchase_invalid"),
        (100_000_000, 400, "purchase_invalid"),
        (2**53 - 92, 400, "purchase_invalid"),
        (2**63, 422, "request_invalid"),
        (-(2**63), 422, "request_invalid"),
        (10**40, 422, "request_invalid"),
        (500.0, 422, "request_invalid"),
        (500.5, 422, "request_invalid"),
        (1e308, 422, "request_invalid"),
        ("500", 422, "request_invalid"),
        ("\u0665\u0660\u0660", 422, "request_invalid"),
        ("five hundred", 422, "request_invalid"),
        (True, 422, "request_invalid"),
        (None, 422, "request_invalid"),
        ([500], 422, "request_invalid"),
        ({"$gt": 0}, 422, "request_invalid"),
    ],
)
def test_an_amount_that_cannot_be_bought_is_refused_and_stripe_not_asked(
    stripe: FakeStripe, api: APIClient, amount: object, status: int, code: str
) -> None:
    before = rows()
    answer = api.post("/api/credits", {"credit_amount": amount}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (rows(), stripe.asked) == (before, [])


def test_what_was_paid_is_credited_when_stripe_says_so(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = begun(api, 1200)
    event = stripe.account.pay(str(top_up.checkout_id))
    assert credits_of(user) == 0

    assert hear(stripe, event) == "credited"

    top_up.refresh_from_db()
    payment = event["data"]["object"]["payment_intent"]
    assert (top_up.status, top_up.paid, top_up.payment_id) == ("paid", 1200, payment)
    assert api.get("/api/credits").json() == {"credits": 1200}
    transfer = Transfer.objects.get()
    assert (transfer.key, transfer.kind, transfer.change) == (f"topup:{payment}", "TOP_UP", 1_200_000_000)


def test_the_confirming_call_credits_as_well_and_both_together_once(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    assert api.patch("/api/credits").status_code == 200
    top_up = begun(api)
    assert api.patch("/api/credits").status_code == 200
    assert credits_of(user) == 0
    event = stripe.account.pay(str(top_up.checkout_id))

    answer = api.patch("/api/credits")

    assert (answer.status_code, answer.content, credits_of(user)) == (200, b"", 1000)
    assert hear(stripe, event) == "credited before"
    assert api.patch("/api/credits").status_code == 200
    assert (credits_of(user), Transfer.objects.count()) == (1000, 1)


def test_a_payment_that_takes_days_is_credited_when_it_arrives(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = begun(api)
    page = str(top_up.checkout_id)
    assert hear(stripe, stripe.account.pay(page, later=True)) == "not paid yet"
    api.patch("/api/credits")
    assert credits_of(user) == 0
    assert hear(stripe, stripe.account.settle(page, paid=True)) == "credited"
    assert credits_of(user) == 1000


@pytest.mark.parametrize("later", [True, False])
def test_what_fails_or_expires_is_written_down_and_nothing_credited(
    stripe: FakeStripe, api: APIClient, user: User, later: bool
) -> None:
    top_up = begun(api)
    page = str(top_up.checkout_id)
    if later:
        stripe.account.pay(page, later=True)
    event = stripe.account.settle(page, paid=False) if later else stripe.account.expire(page)
    hear(stripe, event)
    top_up.refresh_from_db()
    assert (top_up.status, top_up.failure) == (
        "failed",
        "The payment failed" if later else "The page was not paid on",
    )
    assert (credits_of(user), Transfer.objects.count()) == (0, 0)


@pytest.mark.parametrize("off", [300, 1000])
def test_a_promotion_costs_less_and_brings_as_much(stripe: FakeStripe, api: APIClient, user: User, off: int) -> None:
    top_up = bought(stripe, api, 1000, off=off)
    assert (credits_of(user), top_up.paid) == (1000, 1000 - off)


def test_a_payment_of_another_amount_or_for_nobody_is_not_credited(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    top_up = begun(api)
    event = stripe.account.pay(str(top_up.checkout_id))
    session = event["data"]["object"]
    outcomes = []
    changes: list[dict[str, Any]] = [
        {"amount_subtotal": 999},
        {"currency": "eur"},
        {"metadata": {}},
        {"metadata": None},
        {"metadata": {"top_up": str(user.pk)}},
        {"metadata": {"top_up": "; DROP TABLE"}},
        {"payment_status": "unpaid"},
    ]
    for number, change in enumerate(changes):
        changed = {**event, "id": f"evt_changed_{number}", "data": {"object": {**session, **change}}}
        outcomes.append(hear(stripe, changed))
    assert outcomes == [*["not what was offered"] * 2, *["not ours"] * 4, "not paid yet"]
    assert (credits_of(user), TopUp.objects.get().status) == (0, "pending")
    assert hear(stripe, event) == "credited"


def test_nobody_confirms_what_another_bought(
    stripe: FakeStripe, api: APIClient, user: User, stranger: APIClient, anonymous: APIClient
) -> None:
    stripe.account.pay(str(begun(api).checkout_id))
    assert stranger.patch("/api/credits").status_code == 200
    assert Transfer.objects.count() == 0
    for method, path, body in OPERATIONS:
        assert getattr(anonymous, method)(path, body, format="json").status_code == 401
    assert credits_of(user) == 0


def test_the_portal_is_stripes_page_of_ones_own_customer(stripe: FakeStripe, api: APIClient, user: User) -> None:
    url = api.get("/api/credits/manage").json()["url"]
    portal = stripe.account.objects[url.rsplit("/", 1)[1]]
    assert portal["customer"] == Customer.objects.get(user=user).stripe_id
    assert portal["return_url"] == "http://localhost:3000/profile/credits"


def test_a_customer_that_was_deleted_at_stripe_is_made_anew(stripe: FakeStripe, api: APIClient, user: User) -> None:
    for ask in (lambda: api.get("/api/credits/manage"), lambda: begun(api)):
        api.get("/api/credits/manage")
        gone = Customer.objects.get(user=user).stripe_id
        del stripe.account.objects[gone]
        refused = api.post("/api/credits/auto-top-up", {"threshold": 100, "amount": 500}, format="json")
        assert (refused.status_code, refused.json()["code"]) == (400, "no_card")
        ask()
        anew = Customer.objects.get(user=user).stripe_id
        assert anew != gone
        assert stripe.account.objects[anew]["email"] == user.email
    assert credits_of(user) == 0
    bought(stripe, api, 500)
    assert credits_of(user) == 500


@pytest.mark.usefixtures("paid")
@pytest.mark.parametrize("missing", ["key", "package"])
def test_without_stripe_everything_about_money_says_what_is_missing_and_all_else_works(
    api: APIClient, stripe: FakeStripe, settings: Settings, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "key":
        settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = "", []
    else:
        monkeypatch.setitem(sys.modules, "stripe", None)
        processor._made_client.cache_clear()
    before = rows()
    for method, path, body in OPERATIONS[:1] + OPERATIONS[2:]:
        answer = getattr(api, method)(path, body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (503, "payments_off"), path
        assert "taskloom[stripe]" in answer.json()["hint"]
        assert "STRIPE_API_KEY" in answer.json()["hint"]
    assert posted(*stripe.signed(b"{}")).status_code == 503
    assert api.get("/api/credits").json() == {"credits": 0}
    assert api.get("/api/credits/refunds").json() == []
    assert api.get("/api/credits/auto-top-up").json() == {"threshold": 0, "amount": 0}
    assert rows() == before
    assert stripe.asked == []


def test_while_credits_are_disabled_there_is_nothing_to_buy(
    stripe: FakeStripe, api: APIClient, settings: Settings
) -> None:
    settings.CREDITS = "disabled"
    before = rows()
    assert api.post("/api/credits", {"credit_amount": 500}, format="json").json() == {"checkout_url": ""}
    assert api.patch("/api/credits").status_code == 200
    answer = api.post("/api/credits/auto-top-up", {"threshold": 100, "amount": 500}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "credits_disabled")
    assert (rows(), stripe.asked) == (before, [])


def test_a_key_that_stripe_does_not_know_is_said_so(stripe: FakeStripe, api: APIClient, settings: Settings) -> None:
    settings.STRIPE_API_KEY = "sk_test_wrong"
    answer = api.post("/api/credits", {"credit_amount": 500}, format="json")
    assert (answer.status_code, answer.json()["code"], TopUp.objects.count()) == (503, "payments_off", 0)


def test_a_page_whose_address_got_lost_is_credited_should_somebody_pay_on_it(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    api.get("/api/credits/manage")
    stripe.faults = [500, 502, "lost"]
    answer = api.post("/api/credits", {"credit_amount": 500}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert (api.get("/api/credits").json(), stripe.faults) == ({"credits": 0}, [])
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        settle_payments()
    assert TopUp.objects.get().failure == "No page was opened"
    [session] = stripe.account.found("checkout.session")
    assert hear(stripe, stripe.account.pay(session["id"])) == "credited"
    assert (credits_of(user), TopUp.objects.get().failure) == (500, "")


@pytest.mark.parametrize("fault", [500, "lost"])
def test_a_request_is_repeated_with_its_key_so_that_it_counts_once(
    stripe: FakeStripe, api: APIClient, fault: int | str
) -> None:
    api.get("/api/credits/manage")
    stripe.faults = [fault]
    assert begun(api).checkout_id is not None
    assert len([each for each in stripe.account.objects if each.startswith("cs_")]) == 1


def test_stripe_is_never_asked_inside_a_transaction(stripe: FakeStripe, user: User) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        processor.cards("cus_1")
    assert stripe.asked == []


def test_an_event_about_something_else_is_kept_and_changes_nothing(stripe: FakeStripe, user: User) -> None:
    event = stripe.account.tell("customer.created", {"id": "cus_9"})
    assert hear(stripe, event) == "nothing to do"
    assert StripeEvent.objects.get().object_id == "cus_9"
