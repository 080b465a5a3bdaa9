"""`manage.py compare_stripe`: compare our top-ups and refunds with Stripe's own books."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.errors import DomainError
from credits.payments.comparison import compare_with_stripe

# What was paid a moment ago may not have been heard of yet.
_NEWS_UNDER_WAY = timedelta(minutes=5)


class Command(BaseCommand):
    """Compare our top-ups and refunds with Stripe's own books."""

    help = "Compare our top-ups and refunds with Stripe's own books; fails when they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--days", type=int, default=7, help="how many days to look back; 7 unless told otherwise")

    def handle(self, *args: Any, days: int, **options: Any) -> str | None:
        """Compare; raises `CommandError` when something differs or Stripe cannot be asked."""
        until = timezone.now() - _NEWS_UNDER_WAY
        try:
            found = compare_with_stripe(until - timedelta(days=days), until)
        except DomainError as error:
            raise CommandError(f"{error.message}. {error.hint}") from None
        for mismatch in found.mismatches:
            self.stderr.write(str(mismatch))
        counts = f"{found.payments} payments and {found.reversals} reversals, {len(found.mismatches)} mismatches"
        if found.mismatches:
            raise CommandError(counts)
        return counts
