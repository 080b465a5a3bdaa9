"""Forgetting what came in long ago."""

from datetime import timedelta

from django.utils import timezone

from integrations.models import Delivery

# Providers offer to send an event again for some days, GitHub for three. The runs that it started keep its name.
KEPT = timedelta(days=30)
_BATCH = 1_000


def forget_deliveries() -> int:
    """Delete the deliveries that came in more than 30 days ago and were taken up; returns how many."""
    forgotten = 0
    old = Delivery.objects.filter(received_at__lt=timezone.now() - KEPT, taken_up_at__isnull=False)
    while ids := list(old.values_list("pk", flat=True)[:_BATCH]):
        forgotten += Delivery.objects.filter(pk__in=ids).delete()[0]
    return forgotten
