"""`manage.py audit_ledger`: prove that the books are right."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from credits.payments.comparison import LEFT_OUT
from executions.audit import Report, audit_on_record


class Command(BaseCommand):
    """Compare balances, holds and charges with transfers and nodes.

    It fails when anything does not fit, and when Stripe does not answer; all else is told and on record then, too.
    """

    help = "Prove that balances are what was transferred, and that each node that costs something was charged once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How far back to look."""
        parser.add_argument("--days", type=int, help="look at nodes and charges of so many days only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was looked at and every mismatch."""
        days = options["days"]
        report = audit_on_record(None if days is None else timezone.now() - timedelta(days=days))
        self.stdout.write(f"{report.accounts} accounts, {report.transfers} transfers")
        self.stdout.write(f"{report.billable_nodes} nodes with a price")
        self.stdout.write(_payments(report))
        for problem in report.problems:
            self.stdout.write(problem)
        mismatches = f"{len(report.problems)} mismatches"
        if report.stripe_error is not None:
            raise CommandError(f"{mismatches}. {report.stripe_error.message}. {report.stripe_error.hint}")
        if report.problems:
            raise CommandError(mismatches)
        self.stdout.write(mismatches)


def _payments(report: Report) -> str:
    if report.stripe_error is not None:
        return "Stripe's own books were not read"
    return "Stripe was not asked" if report.payments is None else f"{report.payments} payments, {LEFT_OUT}"
