"""`manage.py diff_runs RUN_ID OTHER_ID`: find where two runs of a graph part."""

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from executions.compare import diff_runs


class Command(BaseCommand):
    """Find where two runs of a graph part."""

    help = "Find where two runs of a graph part."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", type=UUID, help="a run's id")
        parser.add_argument("other_id", type=UUID, help="the id of another run of the same graph version")

    def handle(self, *args: Any, run_id: UUID, other_id: UUID, **options: Any) -> str | None:
        """Compare; raises `CommandError` when the runs are not there or cannot be compared."""
        try:
            found = diff_runs(run_id, other_id)
        except DomainError as error:
            raise CommandError(error.message) from None
        if found["equal"]:
            return "The runs are equal: every node was given the same and gave the same."
        return "\n".join(
            f"First different {kind}: {json.dumps(found[kind], indent=2, ensure_ascii=False)}"
            for kind in ("inputs", "outputs")
            if found[kind] is not None
        )
