"""`manage.py replay_run RUN_ID NODE_ID`: run a run again from one of its nodes, as a new run."""

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from executions.again import replay_run


class Command(BaseCommand):
    """Run a run again from one of its nodes, as a new run."""

    help = "Run a run again from one of its nodes, as a new run."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", type=UUID, help="the id of the run that ended")
        parser.add_argument("node_id", type=UUID, help="the node to run again, with everything behind it")
        parser.add_argument("--inputs", metavar="JSON", default="{}", help="values for the node's pins, as an object")

    def handle(self, *args: Any, run_id: UUID, node_id: UUID, inputs: str, **options: Any) -> str | None:
        """Queue the new run and print its id; raises `CommandError` when it cannot be."""
        try:
            values = json.loads(inputs)
        except ValueError as error:
            raise CommandError(f"--inputs is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise CommandError('--inputs must be an object, such as {"value": 1}')
        try:
            return str(replay_run(run_id, node_id, values).pk)
        except DomainError as error:
            raise CommandError(error.message) from None
