"""`manage.py retry_run RUN_ID`: go on from what failed in a run, as a new run."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from executions.again import retry_run


class Command(BaseCommand):
    """Go on from what failed in a run, as a new run."""

    help = "Go on from what failed in a run, as a new run."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", type=UUID, help="the id of the run that ended")

    def handle(self, *args: Any, run_id: UUID, **options: Any) -> str | None:
        """Queue the new run and print its id; raises `CommandError` when there is nothing to retry."""
        try:
            return str(retry_run(run_id).pk)
        except DomainError as error:
            raise CommandError(error.message) from None
