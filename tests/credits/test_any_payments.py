"""Whatever people, banks and networks do, and in whatever order its news comes, the books agree with Stripe's."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from core.errors import DomainError
from credits import ledger, tasks
from credits.kinds import CREDIT
from credits.ledger import settled_balance
from credits.models import Customer, Reversal, TopUp, Transfer
from credits.payments.bookings import wrong_bookings
from credits.payments.comparison import compare_with_stripe
from credits.payments.objects import Stage
from tests import make
from tests.credits.buying import hear
from tests.fake_stripe import FakeStripe
from tests.fake_stripe.account import Refusal

# What cannot be done at this moment.
_IN_VAIN = (DomainError, Refusal, IndexError, Customer.DoesNotExist)


class Town:
    """A few users who buy, spend and want their money back, and a Stripe that tells of it when it likes."""

    def __init__(self, stripe: FakeStripe, client_of: Callable[[User], APIClient], seed: int) -> None:
        self.stripe, self.account = stripe, stripe.account
        self.draw = random.Random(seed)
        self.users = [make.a_user() for _ in range(3)]
        self.clients = {user.pk: client_of(user) for user in self.users}
        self.begun = len(self.account.events)

    def live(self, steps: int) -> None:
        acts = (
            self.buy, self.buy, self.pay, self.pay, self.pay, self.spend, self.hear, self.hear, self.confirm,
            self.ask_back, self.give_back, self.bank, self.dispute, self.judge, self.run_low, self.trouble,
        )  # fmt: skip
        for _ in range(steps):
            with suppress(*_IN_VAIN):
                self.draw.choice(acts)()
        self.stripe.faults.clear()
        told = self.account.events[self.begun :]
        for event in self.draw.sample(told, len(told)):
            hear(self.stripe, event)

    def someone(self) -> User:
        return self.draw.choice(self.users)

    def one_of(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self.draw.choice(self.account.found(kind, **fields))

    def buy(self) -> None:
        body = {"credit_amount": self.draw.randrange(5, 30) * 100}
        self.clients[self.someone().pk].post("/api/credits", body, format="json")

    def pay(self) -> None:
        session = self.one_of("checkout.session", status="open")
        self.account.pay(session["id"], off=self.draw.choice([0, 0, 100, session["amount_total"]]))

    def spend(self) -> None:
        user = self.someone()
        ledger.spend(user.pk, self.draw.randrange(1, 900) * CREDIT, key=f"use:{Transfer.objects.count()}")

    def hear(self) -> None:
        hear(self.stripe, self.draw.choice(self.account.events))

    def confirm(self) -> None:
        self.clients[self.someone().pk].patch("/api/credits")

    def ask_back(self) -> None:
        top_up = self.draw.choice(TopUp.objects.filter(status="paid", user__in=self.users).order_by("pk"))
        body = {"reason": "", **self.draw.choice([{}, {"amount": self.draw.randrange(1, 900)}])}
        self.clients[top_up.user_id].post(f"/api/credits/{top_up.key}/refund", body, format="json")

    def give_back(self) -> None:
        status = self.draw.choice(["succeeded", "pending"])
        self.account.give_back(self.one_of("payment_intent")["id"], self.draw.randrange(1, 500), status=status)

    def bank(self) -> None:
        refund = self.one_of("refund", status="pending")
        self.account.change_refund(refund["id"], self.draw.choice(["succeeded", "canceled"]))

    def dispute(self) -> None:
        self.account.dispute(self.one_of("payment_intent", status="succeeded")["id"])

    def judge(self) -> None:
        open_ones = self.account.found("dispute", status="needs_response") + self.account.found(
            "dispute", status="under_review"
        )
        dispute = self.draw.choice(open_ones)
        if self.draw.random() < 0.5:
            tasks.answer_dispute(dispute["id"])
        else:
            self.account.close_dispute(dispute["id"], won=self.draw.random() < 0.5)

    def run_low(self) -> None:
        user = self.someone()
        customer = Customer.objects.get(user=user)
        self.account.add_card(customer.stripe_id, self.draw.choice(["works", "declined", "requires_action"]))
        Customer.objects.filter(pk=customer.pk).update(auto_threshold=400, auto_amount=700)
        tasks.top_up(str(user.pk), f"run-{self.draw.randrange(20)}")

    def trouble(self) -> None:
        self.stripe.faults = self.draw.choices([500, "lost"], k=self.draw.randrange(1, 4))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_the_books_agree_with_stripes(
    stripe: FakeStripe, client_of: Callable[[User], APIClient], races: int, seed: int, db: None
) -> None:
    for town in (Town(stripe, client_of, seed * 1000 + number) for number in range(races // 2)):
        town.live(steps=60)

        now = timezone.now()
        compared = compare_with_stripe(now - timedelta(days=1), now + timedelta(minutes=1))
        assert compared.mismatches == []
        assert list(wrong_bookings()) == []
        for user in town.users:
            transfers = Transfer.objects.filter(user_id=user.pk)
            assert sum(transfer.change for transfer in transfers) == settled_balance(user.pk)
        paid = TopUp.objects.filter(status="paid")
        keys = set(Transfer.objects.filter(kind="TOP_UP").values_list("key", flat=True))
        assert keys == {top_up.key for top_up in paid}
        assert compared.payments == len([top_up for top_up in paid if top_up.paid])
        for reversal in Reversal.objects.exclude(top_up=None):
            moved = Transfer.objects.filter(key__startswith=f"{reversal.kind}:{reversal.stripe_id}")
            is_taken = reversal.stage == Stage.TAKEN
            assert (sum(transfer.change for transfer in moved) < 0) is is_taken, reversal
