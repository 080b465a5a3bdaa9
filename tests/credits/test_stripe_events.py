"""What Stripe tells, and what others would like to tell in its name."""

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.utils.timezone import now
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits.kinds import CREDIT
from credits.models import Reversal, StripeEvent, TopUp, Transfer
from credits.payments.objects import Stage
from credits.tasks import forget_events
from tests import make
from tests.credits.buying import begun, credits_of, hear, posted, rows
from tests.fake_stripe import FakeStripe
from tests.fake_stripe.server import SECRET

Forge = Callable[[FakeStripe, dict[str, Any]], tuple[bytes, str | None]]


def changed(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
    body, signature = stripe.signed(event)
    return body.replace(b'"amount_total": 1000', b'"amount_total": 9000'), signature


def old(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
    return stripe.signed(event, at=int(time.time()) - 301)


def old_with_a_new_time(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
    body, signature = old(stripe, event)
    return body, f"t={int(time.time())},{signature.partition(',')[2]}"


def spaced_otherwise(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(event).encode(), stripe.signed(event)[1]


def of_an_older_scheme(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
    body, signature = stripe.signed(event)
    return body, signature.replace("v1=", "v0=")


def with_signature(signature: str | None) -> Forge:
    return lambda stripe, event: (stripe.signed(event)[0], signature)


def signed_body(body: bytes) -> Forge:
    return lambda stripe, _: stripe.signed(body)


def without(*path: str) -> Forge:
    def forge(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
        place = event = json.loads(json.dumps(event))
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        return stripe.signed(event)

    return forge


def with_value(value: object, *path: str) -> Forge:
    def forge(stripe: FakeStripe, event: dict[str, Any]) -> tuple[bytes, str]:
        place = event = json.loads(json.dumps(event))
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        return stripe.signed(event)

    return forge


FORGED: dict[str, Forge] = {
    "changed": changed,
    "five minutes old": old,
    "old with a new time": old_with_a_new_time,
    "spaced otherwise": spaced_otherwise,
    "an older scheme": of_an_older_scheme,
    "another secret": lambda stripe, event: stripe.signed(event, secret="whsec_other"),
    "an empty secret": lambda stripe, event: stripe.signed(event, secret=""),
    "no signature": with_signature(None),
    "an empty signature": with_signature(""),
    "no time": with_signature("v1=00"),
    "no digest": with_signature(f"t={int(time.time())}"),
    "no number": with_signature("t=now,v1=00"),
    "a huge number": with_signature("t=" + "9" * 5000 + ",v1=00"),
    "no text": with_signature("t=1,v1=é"),
    "commas": with_signature(",,,=,="),
    "no JSON": signed_body(b"not JSON"),
    "no UTF-8": signed_body(b'{"id": "\xff"}'),
    "nothing": signed_body(b""),
    "a list": signed_body(b"[]"),
    "NaN": signed_body(b'{"id": NaN}'),
    "too deep": signed_body(b"[" * 5000 + b"]" * 5000),
    "too large": signed_body(b'{"id": "' + b"x" * 1_100_000 + b'"}'),
    "no id": without("id"),
    "no type": without("type"),
    "no object": without("data", "object"),
    "no state": without("data", "object", "payment_status"),
    "an object without an id": without("data", "object", "id"),
    "a text for an amount": with_value("1000", "data", "object", "amount_total"),
    "a fraction": with_value(1000.5, "data", "object", "amount_total"),
    "less than nothing": with_value(-1000, "data", "object", "amount_total"),
    "a huge amount": with_value(10**30, "data", "object", "amount_subtotal"),
    "metadata that is none": with_value([1], "data", "object", "metadata"),
    "an id that is too long": with_value("evt_" + "x" * 300, "id"),
}


def test_what_stripe_did_not_sign_lately_or_is_no_event_moves_nothing(
    stripe: FakeStripe, api: APIClient, user: User
) -> None:
    event = stripe.account.pay(str(begun(api).checkout_id))
    before = rows()
    accepted = []
    for name, forge in FORGED.items():
        answer = posted(*forge(stripe, event))
        if (answer.status_code, answer.json()["code"]) != (400, "webhook_refused") or rows() != before:
            accepted.append((name, answer.status_code, answer.content))
    assert accepted == []
    assert hear(stripe, event) == "credited"


def test_a_webhook_that_is_sent_again_by_whoever_counts_once(stripe: FakeStripe, api: APIClient, user: User) -> None:
    event = stripe.account.pay(str(begun(api).checkout_id))
    body, signature = stripe.signed(event)
    assert posted(body, signature).status_code == 200
    before = rows()
    for _ in range(3):
        assert posted(body, signature).status_code == 200
    assert (rows(), credits_of(user)) == (before, 1000)


def test_two_secrets_hold_while_one_replaces_the_other(stripe: FakeStripe, api: APIClient, settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", SECRET]
    event = stripe.account.pay(str(begun(api).checkout_id))
    assert posted(*stripe.signed(event, secret="whsec_new")).status_code == 200
    assert posted(*stripe.signed(event)).status_code == 200
    assert Transfer.objects.count() == 1


def a_story(stripe: FakeStripe, api: APIClient, kind: str) -> list[dict[str, Any]]:
    """The events of a purchase and what came after, in the order they happened."""
    account = stripe.account
    start = len(account.events)
    account.pay(str(begun(api).checkout_id))
    payment = [each for each in account.objects if each.startswith("pi_")][-1]
    if kind == "refunded in two parts":
        account.give_back(payment, 300)
        account.give_back(payment, 700)
    elif kind == "refund that failed":
        refund = account.give_back(payment, 400, status="pending")
        account.change_refund(refund["id"], "succeeded")
        account.change_refund(refund["id"], "failed")
    elif kind == "dispute lost":
        dispute = account.dispute(payment, 800)
        account.close_dispute(dispute["id"], won=False)
    elif kind == "dispute won":
        dispute = account.dispute(payment)
        account.close_dispute(dispute["id"], won=True)
    # Of a checkout this tells nothing new.
    return [event for event in account.events[start:] if event["type"] != "payment_intent.succeeded"]


def without_times(found: list[Any]) -> list[Any]:
    """Rows but for when somebody last looked at them."""
    return [[{name: value for name, value in row.items() if name != "updated_at"} for row in kind] for kind in found]


# What is left of 1,000 credits, and where its refunds or disputes end.
STORIES = {
    "refunded in two parts": (0, Stage.TAKEN),
    "refund that failed": (1000, Stage.DROPPED),
    "dispute lost": (200, Stage.TAKEN),
    "dispute won": (1000, Stage.DROPPED),
}


@pytest.mark.parametrize("kind", STORIES)
def test_in_every_order_and_however_often_events_come_to_the_same_end(
    stripe: FakeStripe, api: APIClient, client_of: Callable[[User], APIClient], kind: str, races: int
) -> None:
    left, stage = STORIES[kind]
    again = random.Random(7)
    orders = list(permutations(range(len(a_story(stripe, api, kind)))))
    for order in orders if races > 10 else again.sample(orders, 6):
        user = make.a_user()
        events = a_story(stripe, client_of(user), kind)
        told = [events[index] for index in order]
        for event in told + again.choices(told, k=2):
            hear(stripe, event)
        top_up = TopUp.objects.get(user=user)
        assert (top_up.status, top_up.paid, credits_of(user)) == ("paid", 1000, left), order
        assert sum(transfer.change for transfer in Transfer.objects.filter(user_id=user.pk)) == left * CREDIT
        assert set(top_up.reversals.values_list("stage", flat=True)) == {stage}, order
    assert not Reversal.objects.filter(top_up=None).exists()


@pytest.mark.parametrize("kind", STORIES)
def test_events_of_months_ago_are_forgotten_and_change_nothing_if_they_come_again(
    stripe: FakeStripe, api: APIClient, user: User, kind: str
) -> None:
    events = a_story(stripe, api, kind)
    told = [stripe.signed(event) for event in events]
    for event in events:
        hear(stripe, event)
    recent = begun(api)
    hear(stripe, stripe.account.pay(str(recent.checkout_id)))
    StripeEvent.objects.filter(pk__in=[event["id"] for event in events]).update(received_at=now() - timedelta(days=91))
    StripeEvent.objects.exclude(pk__in=[event["id"] for event in events]).update(received_at=now() - timedelta(days=89))
    kept = list(StripeEvent.objects.filter(object_id=recent.checkout_id))
    forget_events()
    assert list(StripeEvent.objects.all()) == kept

    before, balance = rows(), credits_of(user)
    with time_machine.travel(now() + timedelta(days=91)):
        for body, signature in told:
            assert posted(body, signature).status_code == 400
    assert rows() == before
    for event in [*events, *reversed(events)]:
        hear(stripe, event)
    forget_all = StripeEvent.objects.exclude(pk__in=[each.pk for each in kept]).delete()[0]
    assert (forget_all, credits_of(user)) == (len(events), balance)
    assert without_times(rows()) == without_times(before)


@pytest.mark.timeout(1200)
def test_however_the_news_of_a_payment_race_it_is_credited_once(
    a_hundred_connections: None, stripe: FakeStripe, owner: User, client_of: Callable[[User], APIClient], races: int
) -> None:
    width = 99
    # Stripe's webhook, the user's confirming call, and the operator's command.

    def news(way: int, top_up: TopUp, event: dict[str, Any]) -> None:
        try:
            if way == 0:
                hear(stripe, event)
            elif way == 1:
                assert client_of(owner).patch("/api/credits").status_code == 200
            else:
                call_command("settle_payments", "--top-up", str(top_up.pk))
        finally:
            connection.close()

    api = client_of(owner)
    with ThreadPoolExecutor(width) as pool:
        for race in range(1, races + 1):
            top_up = begun(api)
            event = stripe.account.pay(str(top_up.checkout_id))
            list(pool.map(lambda number: news(number % 3, top_up, event), range(width)))  # noqa: B023  all are awaited
            assert (credits_of(owner), Transfer.objects.count()) == (1000 * race, race)
    assert StripeEvent.objects.filter(outcome__in=["credited", "credited before"]).count() == races
