"""`manage.py why RUN_ID`: say what a run waits for."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from executions.explain import why


class Command(BaseCommand):
    """Say what a run waits for."""

    help = "Say what a run waits for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", type=UUID, help="the run's id")

    def handle(self, *args: Any, run_id: UUID, **options: Any) -> str | None:
        """Tell; raises `CommandError` when there is no such run."""
        try:
            reasons = why(run_id)
        except DomainError as error:
            raise CommandError(error.message) from None
        return "\n".join([reasons.status.value, *reasons.sentences])
