"""Text made from a template."""

from typing import Any

from graphs.blocks.base import Block, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin
from graphs.blocks.sandbox import render


class FillTextTemplateBlock(Block):
    """Fills a Jinja template."""

    id = "db7d8f02-2f44-4c55-ab7a-eae0941f0c30"
    description = (
        "Fills a Jinja template with values. Loops, conditions, macros and Jinja's filters work; there are no global "
        "functions such as range. A template may take a million steps and make two million characters."
    )
    categories = frozenset({Category.TEXT})
    effect = Effect.PURE
    examples = (
        Example({"values": {"who": "World"}, "format": "Hello {{ who }}!"}, (("output", "Hello World!"),)),
        Example(
            {"values": {"rows": [{"n": 1}, {"n": 2}]}, "format": "{% for row in rows %}<{{ row.n }}>{% endfor %}"},
            (("output", "<1><2>"),),
        ),
        Example({"values": {"text": "a < b"}, "format": "{{ text }}", "escape_html": True}, (("output", "a &lt; b"),)),
        Example({"values": {"pi": 3.14159}, "format": "{{ pi|format('%.2f') }}"}, (("output", "3.14"),)),
    )

    class Input(BlockInput):
        """A template and what fills it."""

        values: dict[str, Any] = pin("The values by name, given one by one on pins such as values_#_who.")
        format: str = pin("The template.", placeholder="Hello {{ who }}!", format="long-text")
        escape_html: bool = pin("Whether to make values safe for HTML.", default=False)

    class Output(BlockOutput):
        """The filled template."""

        output: str = pin("The text.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the filled template."""
        yield "output", render(input.format, input.values, escape_html=input.escape_html)
