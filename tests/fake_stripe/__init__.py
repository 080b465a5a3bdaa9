"""Stripe on the loopback address: as much of its protocol as Taskloom speaks, and what can go wrong in it."""

from tests.fake_stripe.account import StripeAccount
from tests.fake_stripe.server import FakeStripe

__all__ = ["FakeStripe", "StripeAccount"]
