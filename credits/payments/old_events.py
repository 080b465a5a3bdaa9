"""Forgetting the events that Stripe told of long ago."""

from datetime import timedelta

from django.utils import timezone

from credits.models import StripeEvent

# Stripe delivers an event for three days, and lets people ask for it again for thirty. One that came later all the same
# would change nothing: what it is about has its own rows.
KEPT = timedelta(days=90)
_BATCH = 5_000


def forget_events() -> int:
    """Delete the events that came more than 90 days ago; returns how many."""
    forgotten = 0
    old = StripeEvent.objects.filter(received_at__lt=timezone.now() - KEPT)
    while ids := list(old.values_list("pk", flat=True)[:_BATCH]):
        forgotten += StripeEvent.objects.filter(pk__in=ids).delete()[0]
    return forgotten
