"""The page of Stripe's on which people manage their cards and receipts."""

from functools import partial

from django.conf import settings

from accounts.models import User
from credits.payments import processor
from credits.payments.top_ups import as_customer, customer_of


def portal_url(user: User) -> str:
    """The address of the page, good for a few minutes; raises what Stripe's refusal or silence raises."""
    back = f"{settings.FRONTEND_URL.rstrip('/')}/profile/credits"
    return as_customer(customer_of(user), partial(processor.portal_url, back=back))
