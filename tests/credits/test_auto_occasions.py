"""For what, and how often, credits are bought without being asked."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from credits import holds, ledger, tasks
from credits.adjustments import adjust
from credits.holds import Wish
from credits.kinds import CREDIT, Kind
from credits.models import Customer, Hold, TopUp, Transfer
from credits.payments import auto
from tests.accounts.mailbox import waiting
from tests.credits.buying import credits_of
from tests.credits.test_auto_top_up import charges, wanting
from tests.fake_stripe import FakeStripe


@pytest.fixture
def customer(stripe: FakeStripe, api: APIClient, user: User) -> str:
    """The id at Stripe of `user`, who has a card and wants 1000 credits bought when fewer than 300 are left."""
    api.get("/api/credits/manage")
    customer = Customer.objects.get(user=user).stripe_id
    stripe.account.add_card(customer)
    wanting(user, customer)
    return customer


@pytest.fixture
def notice(django_capture_on_commit_callbacks: Any) -> Any:
    """What beat and a worker do: charge whoever has run low; returns for what."""

    def look() -> list[str]:
        waiting()
        with django_capture_on_commit_callbacks(execute=True):
            tasks.notice_low()
        found = [message for message in waiting() if message["task"] == "credits.top_up"]
        for message in found:
            tasks.top_up(message["user_id"], message["occasion"])
        return [message["occasion"] for message in found]

    return look


def use_up(user: User, run: UUID | None) -> None:
    ledger.spend(user.pk, ledger.settled_balance(user.pk), key=f"use:{Transfer.objects.count()}", run_id=run)


def test_a_run_has_the_card_charged_once_however_much_it_uses(
    stripe: FakeStripe, user: User, customer: str, notice: Any
) -> None:
    ledger.credit(user.pk, 900 * CREDIT, kind=Kind.GRANT, key="grant:1")
    first, second, called = uuid4(), uuid4(), uuid4()
    assert notice() == []
    use_up(user, first)
    assert (notice(), credits_of(user)) == ([str(first)], 1000)
    use_up(user, first)
    # What a run calls is part of it.
    Hold.objects.create(run_id=called, root_id=first, user_id=user.pk, expires_at=timezone.now())
    Hold.objects.filter(pk=called).update(released_at=timezone.now())
    for _ in range(3):
        with time_machine.travel(timezone.now() + timedelta(hours=2)):
            assert notice() == []
    ledger.credit(user.pk, CREDIT, kind=Kind.GRANT, key="grant:2")
    use_up(user, called)
    assert (notice(), credits_of(user), charges(stripe)) == ([], 0, 1)
    ledger.credit(user.pk, CREDIT, kind=Kind.GRANT, key="grant:3")
    use_up(user, second)
    assert (notice(), credits_of(user), charges(stripe)) == ([str(second)], 1000, 2)


def test_a_run_for_which_no_card_could_be_charged_does_not_try_again(
    stripe: FakeStripe, user: User, customer: str, notice: Any
) -> None:
    stripe.account.objects.clear()
    ledger.credit(user.pk, CREDIT, kind=Kind.GRANT, key="grant:1")
    run = uuid4()
    use_up(user, run)
    assert notice() == [str(run)]
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert notice() == []
    assert (TopUp.objects.get().status, credits_of(user)) == ("failed", 0)


def test_a_run_that_has_set_credits_aside_has_them_bought_before_it_uses_any(
    stripe: FakeStripe, user: User, customer: str, notice: Any
) -> None:
    ledger.credit(user.pk, 400 * CREDIT, kind=Kind.GRANT, key="grant:1")
    run = uuid4()
    holds.place(user.pk, [Wish(run, 390 * CREDIT)])
    assert (notice(), credits_of(user)) == ([str(run)], 1010)
    use_up(user, run)
    assert (notice(), charges(stripe)) == ([], 1)


def test_what_was_not_taken_by_a_run_has_the_card_charged_once(
    stripe: FakeStripe, user: User, admin: User, customer: str, notice: Any
) -> None:
    # Who never had anything has used nothing up.
    assert notice() == []
    ledger.credit(user.pk, 400 * CREDIT, kind=Kind.GRANT, key="grant:1")
    adjust(admin, user.pk, -399 * CREDIT, reason="by mistake")
    taken = f"transfer-{Transfer.objects.latest('pk').pk}"
    assert (notice(), credits_of(user)) == ([taken], 1001)
    Customer.objects.update(auto_threshold=2000, auto_amount=2000)
    assert (notice(), charges(stripe)) == ([], 1)


def test_no_more_is_bought_within_a_day_than_two_dozen_times(
    stripe: FakeStripe, user: User, customer: str, notice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "MOST_A_DAY", 3)
    ledger.credit(user.pk, CREDIT, kind=Kind.GRANT, key="grant:1")
    for _ in range(3):
        use_up(user, run := uuid4())
        assert notice() == [str(run)]
    use_up(user, run := uuid4())
    assert notice() == []
    assert not auto.top_up_if_low(user.pk, str(run))
    assert (charges(stripe), TopUp.objects.count(), credits_of(user)) == (3, 3, 0)
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert (notice(), charges(stripe)) == ([str(run)], 4)
