"""Our books beside Stripe's."""

from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits import ledger
from credits.kinds import Kind
from credits.models import Account, LedgerAudit, Reversal, TopUp
from credits.payments.bookings import wrong_bookings
from credits.payments.comparison import Mismatch, compare_with_stripe
from executions.tasks import audit_ledger
from tests import make
from tests.credits.buying import begun, bought, hear
from tests.fake_stripe import FakeStripe


def mismatches() -> list[Mismatch]:
    now = timezone.now()
    return compare_with_stripe(now - timedelta(days=7), now + timedelta(minutes=1)).mismatches


def compared() -> str:
    out = StringIO()
    call_command("compare_stripe", stdout=out, stderr=out)
    return out.getvalue().strip()


def test_what_was_bought_refunded_and_disputed_is_what_stripe_has(stripe: FakeStripe, api: APIClient) -> None:
    first = bought(stripe, api, 1000, off=100)
    second = bought(stripe, api, 700)
    bought(stripe, api, 500, off=500)
    stripe.account.give_back(str(first.payment_id), 300)
    hear(stripe, stripe.account.events[-1])
    stripe.account.dispute(str(second.payment_id))
    hear(stripe, stripe.account.events[-1])
    found = compare_with_stripe(timezone.now() - timedelta(days=7), timezone.now() + timedelta(minutes=1))
    assert (found.payments, found.reversals, found.mismatches) == (2, 2, [])


def test_each_side_that_lacks_something_or_has_it_otherwise_is_named(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    top_up = bought(stripe, api, 1000)
    unheard = stripe.account.pay(str(begun(api, 600).checkout_id))["data"]["object"]["payment_intent"]
    refund = stripe.account.give_back(str(top_up.payment_id), 200)
    assert mismatches() == [Mismatch(unheard, 600, None), Mismatch(refund["id"], 200, None)]
    invented = TopUp.objects.create(
        user=user,
        kind="checkout",
        status="paid",
        amount=900,
        paid=900,
        paid_at=timezone.now(),
        payment_id="pi_invented",
    )
    TopUp.objects.filter(pk=top_up.pk).update(paid=999)
    Reversal.objects.create(
        stripe_id="re_invented", kind="refund", payment_id="pi_invented", top_up=invented, amount=5, stage=1,
        taken_at=timezone.now(),
    )  # fmt: skip
    assert mismatches() == [
        Mismatch(str(top_up.payment_id), 1000, 999),
        Mismatch(unheard, 600, None),
        Mismatch("pi_invented", None, 900),
        Mismatch(refund["id"], 200, None),
        Mismatch("re_invented", None, 5),
    ]


def test_what_the_account_sells_besides_is_left_out(stripe: FakeStripe, api: APIClient) -> None:
    api.get("/api/credits/manage")
    account = stripe.account
    session = account.create_session(
        {
            "customer": next(each for each in account.objects if each.startswith("cus_")),
            "mode": "payment",
            "line_items": [{"price_data": {"unit_amount": 9900, "currency": "usd"}, "quantity": 1}],
            "success_url": "",
            "cancel_url": "",
        }
    )
    paid = account.pay(session["id"])
    account.give_back(paid["data"]["object"]["payment_intent"], 100)
    assert mismatches() == []


def test_long_books_are_read_to_their_end(stripe: FakeStripe, api: APIClient) -> None:
    payment = str(bought(stripe, api, 100_000).payment_id)
    for _ in range(150):
        stripe.account.give_back(payment, 1)
    assert len(mismatches()) == 150


def test_the_command_prints_counts_and_fails_when_something_differs(
    stripe: FakeStripe, api: APIClient, settings: Settings
) -> None:
    bought(stripe, api)
    call_command("audit_ledger", stdout=(out := StringIO()))
    left_out = "without those of the last 5 minutes"
    looked_at = f"1 accounts, 1 transfers\n0 nodes with a price\n0 payments, {left_out}\n0 mismatches\n"
    assert out.getvalue() == looked_at
    assert compared() == f"0 payments and 0 reversals, {left_out}, 0 mismatches"
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        assert compared() == f"1 payments and 0 reversals, {left_out}, 0 mismatches"
        TopUp.objects.update(paid=1)
        with pytest.raises(CommandError, match=f"1 payments and 0 reversals, {left_out}, 1 mismatches"):
            compared()
        with pytest.raises(CommandError, match="1 mismatches"):
            call_command("audit_ledger", stdout=StringIO())
    settings.STRIPE_API_KEY = ""
    with pytest.raises(CommandError, match=r"not set up.*STRIPE_API_KEY"):
        compared()


def test_when_stripe_does_not_answer_all_else_is_audited_told_and_kept(
    stripe: FakeStripe, api: APIClient, user: User, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    bought(stripe, api)
    Account.objects.update(balance=F("balance") + 1)
    # Where nobody listens.
    settings.STRIPE_API_BASE = "http://127.0.0.1:1"
    out = StringIO()
    with pytest.raises(CommandError, match=r"(?s)^2 mismatches\. Stripe does not answer.*Try again in a moment"):
        call_command("audit_ledger", stdout=out)
    wrong = [
        "All accounts together hold 1 micro-credits, not 0",
        f"User {user.pk} has 1000000001 and 0 on hold, but transfers of 1000000000, or less than the floor",
    ]
    assert out.getvalue().splitlines() == [
        "1 accounts, 1 transfers",
        "0 nodes with a price",
        "Stripe's own books were not read",
        *wrong,
    ]
    kept = LedgerAudit.objects.get()
    assert (kept.accounts, kept.transfers, kept.payments, kept.problems) == (1, 1, None, wrong)

    audit_ledger()
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert logged[:2] == [f"The books are wrong: {problem}" for problem in wrong]
    assert [line.split(":")[0] for line in logged[2:]] == ["Stripe's own books were not read"]
    assert LedgerAudit.objects.count() == 2


def test_what_was_bought_or_went_back_and_its_transfers_are_one(stripe: FakeStripe, api: APIClient, user: User) -> None:
    first, second, third = (bought(stripe, api, 1000, off=off) for off in (0, 300, 1000))
    stripe.account.give_back(str(second.payment_id), 333)
    hear(stripe, stripe.account.events[-1])
    dispute = stripe.account.dispute(str(first.payment_id))
    hear(stripe, stripe.account.close_dispute(dispute["id"], won=False))
    refund = stripe.account.give_back(str(second.payment_id), 100)
    hear(stripe, stripe.account.events[-1])
    hear(stripe, stripe.account.change_refund(refund["id"], "failed"))
    assert list(wrong_bookings()) == []

    TopUp.objects.filter(pk=third.pk).update(amount=7)
    TopUp.objects.filter(pk=second.pk).update(user=make.a_user())
    Reversal.objects.filter(stripe_id=dispute["id"]).update(taken_at=None)
    ledger.credit(user.pk, 5, kind=Kind.TOP_UP, key="topup:unheard")

    assert list(wrong_bookings()) == [
        f"dispute:{dispute['id']} should have moved 0 micro-credits, and moved -1000000000",
        *(f"refund:{each.stripe_id}{end} is booked for somebody else"
          for each in Reversal.objects.filter(kind="refund").order_by("stripe_id")
          for end in (["", ":returned"] if each.returned_at else [""])),
        *sorted([
            f"topup:{second.payment_id} is booked for somebody else",
            f"topup:{third.payment_id} should have moved 7000000 micro-credits, and moved 1000000000",
        ]),
        "topup:unheard should have moved 0 micro-credits, and moved 5",
    ]  # fmt: skip
