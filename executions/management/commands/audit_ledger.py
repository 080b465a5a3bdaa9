"""`manage.py audit_ledger`: prove that the books are right."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.errors import DomainError
from credits.payments.comparison import LEFT_OUT
from executions.audit import audit_on_record


class Command(BaseCommand):
    """Compare balances, holds and charges with transfers and nodes; fails when anything does not fit."""

    help = "Prove that balances are what was transferred, and that each node that costs something was charged once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How far back to look."""
        parser.add_argument("--days", type=int, help="look at nodes and charges of so many days only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was looked at and every mismatch."""
        days = options["days"]
        try:
            report = audit_on_record(None if days is None else timezone.now() - timedelta(days=days))
        except DomainError as error:
            raise CommandError(f"{error.message}. {error.hint}") from None
        self.stdout.write(f"{report.accounts} accounts, {report.transfers} transfers")
        self.stdout.write(f"{report.billable_nodes} nodes with a price for each run")
        asked = report.payments is not None
        self.stdout.write(f"{report.payments} payments, {LEFT_OUT}" if asked else "Stripe was not asked")
        for problem in report.problems:
            self.stdout.write(problem)
        if report.problems:
            raise CommandError(f"{len(report.problems)} mismatches")
        self.stdout.write("0 mismatches")
