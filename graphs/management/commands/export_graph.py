"""`manage.py export_graph GRAPH_ID`: write a graph that can be given away."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from graphs import services
from graphs.errors import GraphNotFound
from graphs.models import GraphVersion


class Command(BaseCommand):
    """Write a graph, with the graphs it calls and without secrets, as JSON."""

    help = "Write a graph, with the graphs it calls and without secrets, as JSON."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Let `--version` mean the graph's instead of Django's."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("graph_id", type=UUID)
        parser.add_argument("--version", type=int, dest="graph_version", help="Default: the highest.")
        parser.add_argument("--output", type=Path, help="The file to write. Default: standard output.")

    def handle(
        self, *args: Any, graph_id: UUID, graph_version: int | None, output: Path | None, **options: Any
    ) -> str | None:
        """Export the version; raises `CommandError` when there is none or the file cannot be written."""
        try:
            version = services.find_version(GraphVersion.objects.all(), graph_id, graph_version)
        except GraphNotFound as error:
            raise CommandError(error.message) from None
        text = orjson.dumps(services.export_graph(version), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        if output is None:
            return text.decode().rstrip("\n")
        try:
            output.write_bytes(text)
        except OSError as error:
            raise CommandError(f"{output}: {error.strerror}") from None
        self.stderr.write(f"Wrote {version} to {output}")
        return None
