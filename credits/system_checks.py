"""What `manage.py check` verifies of the way credits are sold, each finding with an id and a cure."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Doubt

from credits.kinds import Mode
from credits.payments import processor


@register()
def payments_are_whole(**_: Any) -> list[CheckMessage]:
    """A key that nothing can use: E001. Payments that Stripe cannot tell of: W001. Nothing to pay for: W002."""
    if not settings.STRIPE_API_KEY:
        return []
    found: list[CheckMessage] = []
    if not processor.is_installed():
        hint = "Install taskloom[stripe], or unset STRIPE_API_KEY."
        found.append(Error("STRIPE_API_KEY is set, but Stripe's package is missing.", hint=hint, id="credits.E001"))
    if not settings.STRIPE_WEBHOOK_SECRETS:
        hint = "Set STRIPE_WEBHOOK_SECRET to the signing secret of your endpoint at Stripe."
        found.append(Doubt("Stripe cannot tell of payments, refunds and disputes.", hint=hint, id="credits.W001"))
    if settings.CREDITS == Mode.DISABLED:
        hint = "Set TASKLOOM_CREDITS to paid."
        found.append(Doubt("STRIPE_API_KEY is set, but credits are disabled.", hint=hint, id="credits.W002"))
    return found
