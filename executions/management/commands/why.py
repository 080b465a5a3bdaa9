"""`manage.py why ID`: say what a run or a schedule waits for."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from executions.errors import NoSuchRun, NoSuchSchedule
from executions.explain import why
from executions.schedules import about


class Command(BaseCommand):
    """Say what a run or a schedule waits for."""

    help = "Say what a run or a schedule waits for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", type=UUID, help="the id of a run or a schedule", metavar="ID")

    def handle(self, *args: Any, run_id: UUID, **options: Any) -> str | None:
        """Tell; raises `CommandError` when there is neither."""
        try:
            reasons = why(run_id)
        except NoSuchRun:
            try:
                return "\n".join(about(run_id))
            except NoSuchSchedule:
                raise CommandError(f"There is no run and no schedule {run_id}") from None
        return "\n".join([reasons.status.value, *reasons.sentences])
