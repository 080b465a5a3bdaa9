"""Getting money back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits import ledger, tasks
from credits.kinds import CREDIT
from credits.models import RefundRequest, Reversal, TopUp, Transfer
from credits.payments import disputes, refunds
from credits.payments.settling import settle_payments
from tests.credits.buying import begun, bought, credits_of, hear, rows
from tests.fake_stripe import FakeStripe

ADMIN = "/admin/credits/refundrequest/"


def asked(api: APIClient, top_up: TopUp, **body: Any) -> Any:
    return api.post(f"/api/credits/{top_up.key}/refund", {"reason": "not for me", **body}, format="json")


def spent(user: User, amount: int) -> None:
    ledger.spend(user.pk, amount * CREDIT, key=f"use:{Transfer.objects.count()}")


def sent_back(stripe: FakeStripe) -> list[int]:
    return [each["amount"] for each in stripe.account.objects.values() if each["object"] == "refund"]


def test_what_was_not_spent_is_sent_back_at_once(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = bought(stripe, api, 1000)

    answer = asked(api, top_up)

    assert (answer.status_code, answer.json()) == (200, 1000)
    assert (sent_back(stripe), credits_of(user)) == ([1000], 0)
    [told] = api.get("/api/credits/refunds").json()
    request = RefundRequest.objects.get()
    assert told == {
        "id": str(request.pk),
        "user_id": str(user.pk),
        "transaction_key": top_up.key,
        "amount": 1000,
        "reason": "not for me",
        "result": "1000 cents were sent back",
        "status": "APPROVED",
        "created_at": told["created_at"],
        "updated_at": told["updated_at"],
    }
    transfer = Transfer.objects.order_by("-id")[0]
    assert (transfer.key, transfer.kind, transfer.change) == (f"refund:{request.stripe_id}", "REFUND", -1000 * CREDIT)
    before = rows()[:5]
    for event in stripe.account.events[-1:] * 2:
        hear(stripe, event)
    assert rows()[:2] == before[:2]


def test_up_to_500_credits_may_be_owed_and_the_next_purchase_pays_them(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    top_up = bought(stripe, api, 1000)
    spent(user, 500)
    assert asked(api, top_up).json() == 1000
    assert credits_of(user) == -500
    bought(stripe, api, 700)
    assert credits_of(user) == 200


def test_more_than_that_waits_for_a_person(
    stripe: FakeStripe, api: APIClient, user: User, admin: User, settings: Settings
) -> None:
    settings.REFUND_MAIL = "money@example.com"
    top_up = bought(stripe, api, 1000)
    spent(user, 501)
    answer = asked(api, top_up, reason="I did not mean to")
    assert (answer.json(), sent_back(stripe), credits_of(user)) == (0, [], 499)
    request = RefundRequest.objects.get()
    tasks.mail_refund_request(str(request.pk))
    assert (mail.outbox[0].to, "10.00 USD" in mail.outbox[0].body, "I did not mean to" in mail.outbox[0].body) == (
        ["money@example.com"],
        True,
        True,
    )
    assert api.get("/api/credits/refunds").json()[0]["status"] == "PENDING"

    site = Client()
    site.force_login(admin)
    body = {"action": "approve", "_selected_action": [str(request.pk)]}
    page = site.post(ADMIN, body, follow=True).content.decode()

    assert "1 refunds are approved." in page
    assert (sent_back(stripe), credits_of(user)) == ([1000], -501)
    request.refresh_from_db()
    assert (request.status, request.decided_by) == ("refunded", admin)
    assert "Somebody has decided this before" in site.post(ADMIN, body, follow=True).content.decode()
    assert sent_back(stripe) == [1000]


def test_a_refund_that_is_rejected_moves_nothing_and_is_not_asked_again(
    stripe: FakeStripe, api: APIClient, user: User, admin: User
) -> None:
    top_up = bought(stripe, api, 1000)
    spent(user, 900)
    asked(api, top_up)
    site = Client()
    site.force_login(admin)
    request = RefundRequest.objects.get()
    site.post(ADMIN, {"action": "reject", "_selected_action": [str(request.pk)]})
    told = api.get("/api/credits/refunds").json()[0]
    assert (told["status"], told["result"]) == ("REJECTED", "It was rejected")
    answer = asked(api, top_up)
    assert (answer.status_code, answer.json()["code"]) == (400, "already_asked")
    assert (sent_back(stripe), credits_of(user)) == ([], 100)


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        (1001, 400, "refund_invalid"),
        (0, 400, "refund_invalid"),
        (-1, 400, "refund_invalid"),
        (2**53, 400, "refund_invalid"),
        (2**63, 422, "request_invalid"),
        (1.5, 422, "request_invalid"),
        ("100", 422, "request_invalid"),
        (True, 422, "request_invalid"),
    ],
)
def test_a_refund_that_is_none_or_larger_than_the_top_up_is_refused(
    stripe: FakeStripe, api: APIClient, amount: object, status: int, code: str
) -> None:
    top_up = bought(stripe, api, 1000)
    before = rows()
    answer = asked(api, top_up, amount=amount)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (rows(), sent_back(stripe)) == (before, [])


def test_of_what_went_back_already_nothing_goes_back_again(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = bought(stripe, api, 1000)
    stripe.account.give_back(str(top_up.payment_id), 700)
    hear(stripe, stripe.account.events[-1])
    answer = asked(api, top_up, amount=301)
    assert (answer.status_code, answer.json()["refundable"]) == (400, 300)
    assert asked(api, top_up).json() == 300
    assert (sent_back(stripe), credits_of(user)) == ([700, 300], 0)


@pytest.mark.parametrize("key", ["topup:pi_9", "pi_9", "grant:1", "nonsense", "%00"])
def test_only_a_paid_top_up_of_ones_own_is_refunded(
    stripe: FakeStripe, api: APIClient, stranger: APIClient, key: str
) -> None:
    top_up = bought(stripe, api)
    before = rows()
    for client, wanted in ((api, key), (stranger, top_up.key), (api, top_up.payment_id)):
        answer = client.post(f"/api/credits/{wanted}/refund", {"reason": ""}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_top_up")
    assert rows() == before
    assert stranger.get("/api/credits/refunds").json() == []


def test_a_promotion_gives_back_what_was_paid_and_takes_what_was_got(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    top_up = bought(stripe, api, 1000, off=200)
    assert asked(api, top_up, amount=400).json() == 400
    assert credits_of(user) == 500


def test_what_stripe_refuses_is_told_and_may_be_asked_again(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = bought(stripe, api)
    stripe.account.give_back(str(top_up.payment_id), 600)
    answer = asked(api, top_up)
    assert (answer.status_code, answer.json()["code"]) == (400, "payment_refused")
    assert RefundRequest.objects.get().status == "failed"
    assert credits_of(user) == 1000
    hear(stripe, stripe.account.events[-1])
    assert asked(api, top_up).json() == 400
    assert (sent_back(stripe), credits_of(user)) == ([600, 400], 0)


@pytest.mark.parametrize("fault", [500, "lost"])
def test_a_refund_whose_answer_was_lost_is_sent_once(
    stripe: FakeStripe, api: APIClient, user: User, fault: int | str
) -> None:
    top_up = bought(stripe, api)
    stripe.faults = [fault] * 3
    assert asked(api, top_up).json() == 0
    assert api.get("/api/credits/refunds").json()[0]["status"] == "PENDING"
    with time_machine.travel(timezone.now() + timedelta(hours=30)):
        stripe.forget_keys()
        settle_payments()
        settle_payments()
    assert (sent_back(stripe), credits_of(user)) == ([1000], 0)
    assert RefundRequest.objects.get().status == "refunded"


def test_a_refund_that_the_bank_sends_back_returns_the_credits(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = bought(stripe, api)
    asked(api, top_up)
    assert credits_of(user) == 0
    hear(stripe, stripe.account.change_refund(str(RefundRequest.objects.get().stripe_id), "failed"))
    assert (credits_of(user), RefundRequest.objects.get().status) == (1000, "failed")
    assert refunds.refundable(top_up) == 1000


@pytest.mark.django_db(transaction=True)
def test_whoever_asked_is_told_once_what_came_of_it(
    stripe: FakeStripe, api: APIClient, user: User, admin: User
) -> None:
    def told() -> list[tuple[str, str]]:
        inbox = reversed(api.get("/api/notifications").json()["notifications"])
        return [(each["title"], each["data"]["result"]) for each in inbox if each["type"] == "REFUND_PROCESSED"]

    top_up = bought(stripe, api, 1000)
    asked(api, top_up)
    sent = ("Your refund was sent", "1000 cents were sent back")
    for _ in range(2):
        hear(stripe, stripe.account.events[-1])
        assert told() == [sent]
    hear(stripe, stripe.account.change_refund(str(RefundRequest.objects.get().stripe_id), "failed"))
    returned = ("Your refund was not granted", "The bank did not take the money back")
    assert told() == [sent, returned]
    spent(user, 900)
    assert asked(api, top_up).json() == 0
    assert told() == [sent, returned]
    refunds.reject(RefundRequest.objects.order_by("-created_at")[0].pk, admin, "Used up")
    assert told() == [sent, returned, ("Your refund was not granted", "Used up")]


def test_of_many_that_ask_for_a_refund_at_once_one_gets_it(
    stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient]
) -> None:
    top_up = bought(stripe, client_of(owner), 1000)

    def ask(number: int) -> int:
        try:
            return int(asked(client_of(owner), top_up, amount=600).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == [200, *[400] * 7]
    assert (sent_back(stripe), credits_of(owner)) == ([600], 400)


@pytest.fixture
def two_weeks(stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient]) -> list[TopUp]:
    """Two purchases of a thousand in two weeks, half of which is used."""
    found = []
    for day in ("2026-01-05", "2026-01-14"):
        with time_machine.travel(f"{day}T12:00:00Z", tick=False):
            found.append(bought(stripe, client_of(owner), 1000))
    spent(owner, 1000)
    return found


def test_two_refunds_at_once_do_not_count_on_the_same_credits(
    stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient], two_weeks: list[TopUp]
) -> None:
    def ask(top_up: TopUp) -> int:
        try:
            return int(asked(client_of(owner), top_up).json())
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, two_weeks)) == [0, 1000]
    assert (sent_back(stripe), credits_of(owner)) == ([1000], 0)
    assert sorted(RefundRequest.objects.values_list("status", flat=True)) == ["refunded", "waiting"]


def test_what_a_refund_under_way_will_take_is_not_there_for_the_next(
    stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient], two_weeks: list[TopUp]
) -> None:
    stripe.faults = [500] * 3
    assert [asked(client_of(owner), top_up).json() for top_up in two_weeks] == [0, 0]
    assert sorted(RefundRequest.objects.values_list("status", flat=True)) == ["sending", "waiting"]
    with time_machine.travel(timezone.now() + timedelta(minutes=30)):
        settle_payments()
    assert (sent_back(stripe), credits_of(owner)) == ([1000], 0)


def test_while_credits_are_disabled_refunds_go_by_what_the_books_say(
    stripe: FakeStripe, api: APIClient, user: User, settings: Settings
) -> None:
    top_up = bought(stripe, api, 500)
    spent(user, 500)
    ledger.take_back(user.pk, CREDIT, key="refund:another")
    settings.CREDITS = "disabled"
    assert asked(api, top_up).json() == 0
    assert (sent_back(stripe), credits_of(user)) == ([], -1)


def test_a_dispute_over_credits_that_are_still_there_is_conceded(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    top_up = bought(stripe, api, 1000)
    bought(stripe, api, 500)
    dispute = stripe.account.dispute(str(top_up.payment_id))
    hear(stripe, stripe.account.events[-1])
    assert credits_of(user) == 1500
    for _ in range(2):
        tasks.answer_dispute(dispute["id"])
    assert (stripe.account.objects[dispute["id"]]["status"], credits_of(user)) == ("lost", 500)
    hear(stripe, stripe.account.events[-1])
    assert (credits_of(user), stripe.changes().count(f"disputes/{dispute['id']}/close")) == (500, 1)
    assert Transfer.objects.order_by("-id")[0].key == f"dispute:{dispute['id']}"


@pytest.mark.parametrize("won", [True, False])
def test_a_dispute_over_credits_that_were_used_is_answered_with_what_for(
    stripe: FakeStripe, api: APIClient, user: User, won: bool
) -> None:
    top_up = bought(stripe, api, 1000)
    spent(user, 600)
    dispute = stripe.account.dispute(str(top_up.payment_id))
    hear(stripe, stripe.account.events[-1])
    for _ in range(2):
        tasks.answer_dispute(dispute["id"])
    [evidence] = stripe.account.evidence.values()
    assert "1000 credits were bought" in evidence
    assert "USAGE -600 credits" in evidence
    assert (stripe.account.objects[dispute["id"]]["status"], credits_of(user)) == ("under_review", 400)
    hear(stripe, stripe.account.close_dispute(dispute["id"], won=won))
    assert credits_of(user) == (400 if won else -600)


def test_what_goes_back_in_another_currency_is_left_to_people(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = bought(stripe, api)
    stripe.account.give_back(str(top_up.payment_id), 500)
    event = stripe.account.events[-1]
    event["data"]["object"]["currency"] = "eur"
    assert hear(stripe, event) == "in another currency"
    assert (credits_of(user), Reversal.objects.count()) == (1000, 0)


def test_evidence_is_never_too_long(stripe: FakeStripe, api: APIClient, user: User) -> None:
    top_up = bought(stripe, api, 1000)
    for number in range(60):
        ledger.spend(user.pk, CREDIT, key=f"use:{number}", reason="x" * 1000)
    assert 19_000 < len(disputes.evidence(top_up)) <= 20_000


def test_a_dispute_that_was_heard_of_before_its_payment_is_answered_later(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    paid = stripe.account.pay(str(begun(api).checkout_id))
    dispute = stripe.account.dispute(paid["data"]["object"]["payment_intent"])
    assert hear(stripe, stripe.account.events[-1]) == "of a payment that is not known here"
    tasks.answer_dispute(dispute["id"])
    assert Reversal.objects.get().answered_at is None
    hear(stripe, paid)
    with time_machine.travel(timezone.now() + timedelta(minutes=3)):
        settle_payments()
    assert stripe.account.objects[dispute["id"]]["status"] == "under_review"
