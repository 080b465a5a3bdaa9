"""Stripe on the loopback address: as much of its protocol as Taskloom speaks, and what can go wrong in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pytest_django import Settings

from tests.fake_stripe.account import StripeAccount
from tests.fake_stripe.server import API_KEY, SECRET, FakeStripe

__all__ = ["FakeStripe", "StripeAccount", "selling"]


@contextmanager
def selling(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """A running one, which the platform is set up for."""
    # The SDK's pauses between its attempts.
    monkeypatch.setattr("stripe.HTTPClient.INITIAL_DELAY", 0.01)
    monkeypatch.setattr("stripe.HTTPClient.MAX_DELAY", 0.01)
    with FakeStripe.running() as stripe:
        settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = API_KEY, [SECRET]
        settings.STRIPE_API_BASE = stripe.origin
        yield stripe
