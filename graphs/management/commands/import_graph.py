"""`manage.py import_graph FILE`: save a graph from a file."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pydantic
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from core import strict_json
from core.api import problems_of_schema
from core.errors import DomainError
from graphs import services
from graphs.errors import GraphInvalid
from graphs.schemas import GraphDraft


class Command(BaseCommand):
    """Save the graph in a JSON file, with the graphs it calls, under new ids."""

    help = "Save the graph in a JSON file, with the graphs it calls, under new ids; prints its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", help="A graph as JSON, e.g. graphs/examples/running_total.json; - reads stdin.")
        parser.add_argument("--owner", default=settings.DEMO_EMAIL, help="Email of the owner. Default: %(default)s.")

    def handle(self, *args: Any, file: str, owner: str, **options: Any) -> str:
        """Import the file; raises `CommandError` with every problem and then saves nothing."""
        try:
            user = User.objects.get_by_natural_key(owner)
        except User.DoesNotExist:
            raise CommandError(f"There is no user {owner}; name one with --owner") from None
        try:
            text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        try:
            version = services.create_graph(user, GraphDraft.model_validate(strict_json.parse(text)))
        except pydantic.ValidationError as error:
            raise CommandError(f"{file} is not a graph:\n{_lines(error)}") from None
        except GraphInvalid as error:
            raise CommandError(f"{file} was not imported:\n{_problems(error)}") from None
        except DomainError as error:
            raise CommandError(f"{file}: {error.message}") from None
        self.stderr.write(f"Imported {version.name} for {user.email}")
        return str(version.graph_id)


def _lines(error: pydantic.ValidationError) -> str:
    problems = problems_of_schema(error)
    return "\n".join(f"  {'.'.join(map(str, loc)) or 'graph'}: {message}" for loc, message, _ in problems)


def _problems(error: GraphInvalid) -> str:
    return "\n".join(f"  {message}" for message in error.messages)
