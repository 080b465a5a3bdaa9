"""`manage.py draw_run RUN_ID`: a picture of a run."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from executions.models import GraphExecution
from executions.reading import picture_of


class Command(BaseCommand):
    """Draw a run as SVG: its graph, and on each node how often it ran, how it ended and how long it took."""

    help = "Draw a run as SVG: its graph, and on each node how often it ran, how it ended and how long it took."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", help="the run's id")
        parser.add_argument("--output", metavar="FILE", help="where to write it (default: to the terminal)")

    def handle(self, *args: Any, run_id: str, output: str | None, **options: Any) -> str | None:
        """Draw; raises `CommandError` when there is no such run or the file cannot be written."""
        try:
            run = GraphExecution.objects.get(pk=UUID(run_id))
        except (ValueError, GraphExecution.DoesNotExist):
            raise CommandError(f"There is no run {run_id}") from None
        picture = picture_of(run)
        if output is None:
            return picture
        try:
            Path(output).write_text(picture)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from None
        return None
