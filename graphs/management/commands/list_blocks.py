"""`manage.py list_blocks`: the blocks of this installation as a Markdown table."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from pydantic.fields import FieldInfo

from graphs.blocks.base import Block
from graphs.blocks.registry import BLOCKS


class Command(BaseCommand):
    """List the blocks that can be used, and on standard error those that were left out."""

    help = "List the blocks that can be used, and on standard error those that were left out."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--own", action="store_true", help="Only those that come with the platform.")

    def handle(self, *args: Any, own: bool, **options: Any) -> str:
        """Return the table."""
        for problem in BLOCKS.problems:
            self.stderr.write(problem.message)
        blocks = [block for block in BLOCKS.all() if not own or type(block).__module__.startswith("graphs.")]
        return "\n".join(["| block, id | inputs | outputs | effect |", "|---|---|---|---|", *map(_row, blocks)])


def _row(block: Block) -> str:
    inputs = ", ".join(_input(name, field) for name, field in block.Input.model_fields.items())
    outputs = ", ".join(name for name in block.Output.model_fields if name != "error")
    marks = " (static)" if block.static_output else ""
    return f"| {block.name} `{block.id}` | {inputs} | {outputs}{marks} | {block.effect} |"


def _input(name: str, field: FieldInfo) -> str:
    return f"**{name}**" if field.is_required() else name
