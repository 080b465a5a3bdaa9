"""`manage.py compare_stripe`: compare our top-ups and refunds with Stripe's own books."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.errors import DomainError
from credits.payments.bookings import wrong_bookings
from credits.payments.comparison import LEFT_OUT, compare_lately


class Command(BaseCommand):
    """Compare our top-ups and refunds with Stripe's own books."""

    help = "Compare our top-ups and refunds with Stripe's own books; fails when they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--days", type=int, default=7, help="how many days to look back; 7 unless told otherwise")

    def handle(self, *args: Any, days: int, **options: Any) -> str | None:
        """Compare; raises `CommandError` when something differs or Stripe cannot be asked."""
        try:
            found = compare_lately(timezone.now() - timedelta(days=days))
        except DomainError as error:
            raise CommandError(f"{error.message.rstrip('.')}. {error.hint}") from None
        problems = [*map(str, found.mismatches), *wrong_bookings()]
        for problem in problems:
            self.stderr.write(problem)
        compared = f"{found.payments} payments and {found.reversals} reversals, {LEFT_OUT}"
        counts = f"{compared}, {len(problems)} mismatches"
        if problems:
            raise CommandError(counts)
        return counts
