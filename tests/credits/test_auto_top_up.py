"""Buying credits without being asked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import F
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from credits import ledger, tasks
from credits.kinds import CREDIT, Kind
from credits.models import Customer, TopUp, Transfer
from credits.payments import auto
from credits.payments.settling import settle_payments
from tests.credits.buying import credits_of, hear, rows
from tests.fake_stripe import FakeStripe

PATH = "/api/credits/auto-top-up"


@pytest.fixture
def customer(stripe: FakeStripe, api: APIClient, user: User) -> str:
    """The id of `user` at Stripe."""
    api.get("/api/credits/manage")
    return Customer.objects.get(user=user).stripe_id


def configured(api: APIClient, threshold: object, amount: object) -> Any:
    return api.post(PATH, {"threshold": threshold, "amount": amount}, format="json")


def wanting(user: User, customer: str, threshold: int = 300, amount: int = 1000) -> None:
    Customer.objects.filter(stripe_id=customer).update(auto_threshold=threshold, auto_amount=amount)


def charges(stripe: FakeStripe) -> int:
    return len([each for each in stripe.account.objects if each.startswith("ch_")])


def test_with_too_few_credits_the_card_is_charged_at_once(
    stripe: FakeStripe, api: APIClient, user: User, customer: str
) -> None:
    card = stripe.account.add_card(customer)

    answer = configured(api, 300, 1000)

    assert (answer.status_code, answer.json()) == (200, "Auto top-up settings updated")
    assert api.get(PATH).json() == {"threshold": 300, "amount": 1000}
    top_up = TopUp.objects.get()
    assert (top_up.kind, top_up.status, top_up.paid, top_up.cards) == ("automatic", "paid", 1000, [card])
    assert Transfer.objects.get().key == f"topup:{top_up.payment_id}"
    assert credits_of(user) == 1000
    asked = stripe.asked[-1]
    assert (asked.path, asked.key) == ("payment_intents", f"{top_up.attempt}:{card}")
    assert (asked.params["off_session"], asked.params["confirm"]) == ("true", "true")
    told = next(event for event in stripe.account.events if event["type"] == "payment_intent.succeeded")
    assert hear(stripe, told) == "credited before"
    assert credits_of(user) == 1000


def test_with_enough_credits_the_card_is_only_checked(
    stripe: FakeStripe, api: APIClient, user: User, customer: str
) -> None:
    stripe.account.add_card(customer)
    ledger.credit(user.pk, 300 * CREDIT, kind=Kind.GRANT, key="grant:1")
    assert configured(api, 300, 1000).status_code == 200
    assert (charges(stripe), stripe.changes()[-1], credits_of(user)) == (0, "setup_intents", 300)
    assert Transfer.objects.order_by("-id")[0].kind == "CARD_CHECK"


@pytest.mark.parametrize(
    ("threshold", "amount", "status"),
    [
        (-1, 1000, 422),
        (0, 499, 422),
        (0, 1, 422),
        (0, -500, 422),
        (1001, 1000, 422),
        (10**9, 10**9, 422),
        (0, 500.5, 422),
        ("300", 1000, 422),
        (300, "1000", 422),
        (None, 1000, 422),
        (300, 2**63, 422),
        (-(2**70), 600, 422),
        (True, 1000, 422),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_nothing_charged(
    stripe: FakeStripe, api: APIClient, customer: str, threshold: object, amount: object, status: int
) -> None:
    stripe.account.add_card(customer)
    before, asked = rows(), len(stripe.asked)
    answer = configured(api, threshold, amount)
    assert answer.status_code == status, answer.content
    assert (rows(), len(stripe.asked)) == (before, asked)


@pytest.mark.parametrize(
    ("card", "code"), [("declined", "card_refused"), ("requires_action", "card_refused"), (None, "no_card")]
)
@pytest.mark.parametrize("balance", [0, 500])
def test_a_card_that_cannot_be_charged_leaves_the_rule_as_it_was(
    stripe: FakeStripe, api: APIClient, user: User, customer: str, card: str | None, code: str, balance: int
) -> None:
    wanting(user, customer, 100, 700)
    if card:
        stripe.account.add_card(customer, card)
    if balance:
        ledger.credit(user.pk, balance * CREDIT, kind=Kind.GRANT, key="grant:1")
    answer = configured(api, 300, 1000)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert api.get(PATH).json() == {"threshold": 100, "amount": 700}
    assert (charges(stripe), credits_of(user)) == (0, balance)


def test_switching_it_off_needs_no_card(stripe: FakeStripe, api: APIClient, user: User, customer: str) -> None:
    wanting(user, customer)
    assert configured(api, 0, 0).status_code == 200
    assert api.get(PATH).json() == {"threshold": 0, "amount": 0}
    assert stripe.changes() == ["customers", "billing_portal/sessions"]


def test_the_next_card_is_charged_when_one_is_refused(
    stripe: FakeStripe, api: APIClient, user: User, customer: str
) -> None:
    for behaviour in ("works", "requires_action", "declined"):
        stripe.account.add_card(customer, behaviour)
    wanting(user, customer)
    tasks.top_up(str(user.pk), "run-1")
    assert (credits_of(user), charges(stripe)) == (1000, 1)
    assert stripe.changes()[-3:] == ["payment_intents"] * 3


def test_a_task_that_is_delivered_twice_charges_once_for_its_run(
    stripe: FakeStripe, api: APIClient, user: User, customer: str
) -> None:
    stripe.account.add_card(customer)
    wanting(user, customer)
    for _ in range(2):
        tasks.top_up(str(user.pk), "run-1")
    ledger.spend(user.pk, 900 * CREDIT, key="use:1")
    tasks.top_up(str(user.pk), "run-1")
    assert (credits_of(user), charges(stripe)) == (100, 1)
    tasks.top_up(str(user.pk), "run-2")
    assert (credits_of(user), charges(stripe)) == (1100, 2)
    assert set(TopUp.objects.values_list("attempt", flat=True)) == {f"auto:{user.pk}:run-1", f"auto:{user.pk}:run-2"}


def test_with_enough_left_or_nothing_wanted_nobody_is_charged(
    stripe: FakeStripe, api: APIClient, user: User, customer: str
) -> None:
    stripe.account.add_card(customer)
    assert not auto.top_up_if_low(user.pk, "run-1")
    wanting(user, customer)
    ledger.credit(user.pk, 300 * CREDIT, kind=Kind.GRANT, key="grant:1")
    assert not auto.top_up_if_low(user.pk, "run-1")
    assert (charges(stripe), TopUp.objects.count()) == (0, 0)


def test_after_a_refusal_there_is_an_hours_pause(stripe: FakeStripe, api: APIClient, user: User, customer: str) -> None:
    stripe.account.add_card(customer, "declined")
    wanting(user, customer)
    tasks.top_up(str(user.pk), "run-1")
    tasks.top_up(str(user.pk), "run-2")
    assert TopUp.objects.get().failure == "Your card was declined."
    stripe.account.add_card(customer)
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        tasks.top_up(str(user.pk), "run-3")
    assert (credits_of(user), charges(stripe)) == (1000, 1)


@pytest.mark.parametrize("gone", [True, False])
def test_without_a_card_stripe_is_not_asked_again_and_again(
    stripe: FakeStripe, api: APIClient, user: User, customer: str, gone: bool
) -> None:
    wanting(user, customer)
    if gone:
        del stripe.account.objects[customer]
    asked = len(stripe.asked)
    for _ in range(3):
        tasks.top_up(str(user.pk), "run-1")
        tasks.top_up(str(user.pk), "run-2")
    assert len(stripe.asked) == asked + 1
    assert not Customer.objects.low(timezone.now() - timedelta(hours=1)).exists()
    assert TopUp.objects.get().failure == "There is no saved card to charge."


@pytest.mark.parametrize("minutes", [3, 60 * 30])
def test_a_charge_whose_answer_was_lost_is_found_and_credited_once(
    stripe: FakeStripe, api: APIClient, user: User, customer: str, minutes: int
) -> None:
    stripe.account.add_card(customer)
    wanting(user, customer)
    stripe.faults = ["lost"] * 3
    tasks.top_up(str(user.pk), "run-1")
    assert (TopUp.objects.get().status, charges(stripe), credits_of(user)) == ("pending", 1, 0)
    tasks.top_up(str(user.pk), "run-2")
    refused = configured(api, 300, 1000)
    assert (refused.status_code, refused.json()["code"]) == (409, "top_up_under_way")
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        settle_payments()
        settle_payments()
    assert (TopUp.objects.get().status, charges(stripe), credits_of(user)) == ("paid", 1, 1000)


@pytest.mark.parametrize(("minutes", "expected"), [(3, ("paid", 1, 1000)), (60 * 30, ("failed", 0, 0))])
def test_a_charge_that_never_arrived_is_made_later_unless_that_is_too_late(
    stripe: FakeStripe, api: APIClient, user: User, customer: str, minutes: int, expected: tuple[str, int, int]
) -> None:
    stripe.account.add_card(customer)
    wanting(user, customer)
    stripe.faults = [500] * 3
    tasks.top_up(str(user.pk), "run-1")
    wanting(user, customer, 0, 0)
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        settle_payments()
    assert (TopUp.objects.get().status, charges(stripe), credits_of(user)) == expected


@pytest.mark.django_db(transaction=True)
def test_many_that_notice_at_once_charge_once(
    stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient], races: int
) -> None:
    client_of(owner).get("/api/credits/manage")
    customer = Customer.objects.get(user=owner).stripe_id
    stripe.account.add_card(customer)
    wanting(owner, customer)

    def notice(number: int) -> None:
        try:
            tasks.top_up(str(owner.pk), f"run-{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        for race in range(1, races + 1):
            list(pool.map(notice, range(race * 100, race * 100 + 16)))
            assert (credits_of(owner), charges(stripe)) == (1000, race)
            ledger.spend(owner.pk, 1000 * CREDIT, key=f"use:{race}")
            # The next one is another day: within one there are only so many.
            TopUp.objects.update(created_at=F("created_at") - timedelta(days=1))


@pytest.mark.django_db(transaction=True)
def test_a_charge_that_several_make_up_for_at_once_is_made_once(
    stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient]
) -> None:
    client_of(owner).get("/api/credits/manage")
    customer = Customer.objects.get(user=owner).stripe_id
    stripe.account.add_card(customer)
    wanting(owner, customer)
    stripe.faults = [500] * 3
    tasks.top_up(str(owner.pk), "run-1")
    top_up = TopUp.objects.get(status="pending")
    stripe.gates["GET", "payment_intents"] = Barrier(6)

    def make_up(_: int) -> None:
        try:
            auto.settle(top_up)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(make_up, range(6)))
    assert (charges(stripe), credits_of(owner), TopUp.objects.get().status) == (1, 1000, "paid")
