"""A graph's inputs and outputs: the pins that the outside sees."""

import datetime
from typing import Any

from pydantic import BaseModel, field_validator

from graphs.blocks.base import (
    Block,
    BlockError,
    BlockInput,
    Category,
    Context,
    Effect,
    Emissions,
    Example,
    Kind,
)
from graphs.blocks.fields import pin
from graphs.blocks.files import SCHEME
from graphs.blocks.sandbox import TemplateFailed, render

INPUT = frozenset({Category.BASIC, Category.INPUT})
OUTPUT = frozenset({Category.BASIC, Category.OUTPUT})


class InputPins(BlockInput):
    """What every input block asks for; each adds a `value` of its own type."""

    name: str = pin("What the input is called; a run's inputs are given by this name.")
    value: Any = pin("What to use when a run does not give a value.", default=None, advanced=False)
    title: str | None = pin("What the form shows instead of the name.", default=None)
    description: str | None = pin("What the form explains about it.", default=None)
    placeholder_values: list[Any] = pin("Values to choose from.", default=[], hidden=True)
    advanced: bool = pin("Whether the form shows it only on request.", default=False)
    secret: bool = pin("Whether the form hides what is typed.", default=False)


class InputBlock(Block):
    """Emits a run's input as `result`; without one it emits nothing, and what follows waits."""

    categories = INPUT
    kind = Kind.INPUT
    effect = Effect.PURE
    static_output = True

    def run(self, input: Any, context: Context) -> Emissions:
        """Emit the value unless it is null."""
        if input.value is not None:
            yield "result", input.value


class AgentInputBlock(InputBlock):
    """Any value."""

    id = "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b"
    description = "An input of the graph that takes any value."
    examples = (
        Example({"name": "who", "value": "World"}, (("result", "World"),)),
        Example({"name": "count", "value": 0}, (("result", 0),)),
        Example({"name": "optional"}, ()),
    )

    class Input(InputPins):
        """No pins of its own."""

    class Output(BaseModel):
        """The input's value."""

        result: Any = pin("The value.")


class AgentShortTextInputBlock(InputBlock):
    """One line of text."""

    id = "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158"
    description = "An input of the graph for a line of text."
    examples = (Example({"name": "city", "value": "Oslo"}, (("result", "Oslo"),)),)

    class Input(InputPins):
        """A text."""

        value: str | None = pin("The text.", default=None, advanced=False, format="short-text")

    class Output(BaseModel):
        """The input's value."""

        result: str = pin("The text.")


class AgentLongTextInputBlock(InputBlock):
    """Several lines of text."""

    id = "90a56ffb-7024-4b2b-ab50-e26c5e5ab8ba"
    description = "An input of the graph for a longer text."
    examples = (Example({"name": "letter", "value": "Dear all,\nhello."}, (("result", "Dear all,\nhello."),)),)

    class Input(InputPins):
        """A text."""

        value: str | None = pin("The text.", default=None, advanced=False, format="long-text")

    class Output(BaseModel):
        """The input's value."""

        result: str = pin("The text.")


class AgentNumberInputBlock(InputBlock):
    """A whole number; decimals given as text or number are cut off."""

    id = "96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98"
    description = "An input of the graph for a whole number; decimals are cut off."
    examples = (
        Example({"name": "count", "value": 7}, (("result", 7),)),
        Example({"name": "count", "value": "12.9"}, (("result", 12),)),
    )

    class Input(InputPins):
        """A whole number."""

        value: int | None = pin("The number.", default=None, advanced=False)

    class Output(BaseModel):
        """The input's value."""

        result: int = pin("The number.")


class AgentDateInputBlock(InputBlock):
    """A date."""

    id = "7e198b09-4994-47db-8b4d-952d98241817"
    description = "An input of the graph for a date, written as YYYY-MM-DD."
    examples = (Example({"name": "due", "value": "2026-02-28"}, (("result", datetime.date(2026, 2, 28)),)),)

    class Input(InputPins):
        """A date."""

        value: datetime.date | None = pin("The date.", default=None, advanced=False, format="date")

    class Output(BaseModel):
        """The input's value."""

        result: datetime.date = pin("The date.")


class AgentTimeInputBlock(InputBlock):
    """A time of day."""

    id = "2a1c757e-86cf-4c7e-aacf-060dc382e434"
    description = "An input of the graph for a time of day, written as HH:MM or HH:MM:SS."
    examples = (Example({"name": "at", "value": "17:30"}, (("result", datetime.time(17, 30)),)),)

    class Input(InputPins):
        """A time of day."""

        value: datetime.time | None = pin("The time.", default=None, advanced=False, format="time")

    class Output(BaseModel):
        """The input's value."""

        result: datetime.time = pin("The time.")


class AgentFileInputBlock(InputBlock):
    """A file, named by a data URI, its URI in the workspace, or an address."""

    id = "95ead23f-8283-4654-aef3-10c053b74a31"
    description = (
        "An input of the graph for a file, given as a data URI, as workspace://… (an uploaded file), or as an http(s) "
        "address. The text is handed on as it is; nothing is fetched or stored, so base_64 needs a data URI: FileStore "
        "makes one of the others."
    )
    examples = (
        Example({"name": "notes", "value": "data:text/plain,hello"}, (("result", "data:text/plain,hello"),)),
        Example({"name": "notes", "value": ""}, ()),
    )

    class Input(InputPins):
        """A file."""

        value: str | None = pin("The file.", default=None, advanced=False, format="file")
        base_64: bool = pin("Whether to insist on a data URI.", default=False)

        @field_validator("value")
        @classmethod
        def names_a_file(cls, value: str | None) -> str | None:
            """Accept what blocks can read a file from."""
            if value and not value.lower().startswith(("data:", "http://", "https://", SCHEME)):
                raise ValueError("a file is given as a data URI, as workspace://… or as an http(s) address")
            return value

    class Output(BaseModel):
        """The input's value."""

        result: str = pin("The file, as it was given.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the file's text form unless it is empty."""
        if not input.value:
            return
        if input.base_64 and not input.value.lower().startswith("data:"):
            raise BlockError("base_64 needs the file as a data URI; FileStore with base_64 makes one of an address")
        yield "result", input.value


class AgentDropdownInputBlock(InputBlock):
    """One of several texts; the form offers them, a run may give another."""

    id = "655d6fdf-a334-421c-b733-520549c07cd1"
    description = "An input of the graph that offers texts to choose from."
    examples = (Example({"name": "size", "value": "L", "placeholder_values": ["S", "M", "L"]}, (("result", "L"),)),)

    class Input(InputPins):
        """A text and those to choose from."""

        value: str | None = pin("The chosen text.", default=None, advanced=False)
        placeholder_values: list[Any] = pin("The texts to choose from.", default=[], advanced=False)

    class Output(BaseModel):
        """The input's value."""

        result: str = pin("The chosen text.")


class AgentToggleInputBlock(InputBlock):
    """On or off; off is emitted too."""

    id = "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e"
    description = "An input of the graph that is on or off."
    examples = (
        Example({"name": "polite", "value": True}, (("result", True),)),
        Example({"name": "polite"}, (("result", False),)),
    )

    class Input(InputPins):
        """On or off."""

        value: bool = pin("Whether it is on.", default=False, advanced=False)

    class Output(BaseModel):
        """The input's value."""

        result: bool = pin("Whether it is on.")


class AgentTableInputBlock(InputBlock):
    """Rows of named cells; without a value it emits no rows."""

    id = "5603b273-f41e-4020-af7d-fbc9c6a8d928"
    description = "An input of the graph for a table: a list of rows, each a dictionary by column."
    examples = (
        Example(
            {"name": "people", "value": [{"Name": "Ada"}], "column_headers": ["Name"]}, (("result", [{"Name": "Ada"}]),)
        ),
        Example({"name": "people"}, (("result", []),)),
    )

    class Input(InputPins):
        """Rows, and the columns that the form shows."""

        value: list[dict[str, Any]] | None = pin("The rows.", default=None, advanced=False, format="table")
        column_headers: list[str] = pin(
            "The columns that the form shows.", default=["Column 1", "Column 2", "Column 3"], advanced=False
        )

    class Output(BaseModel):
        """The input's value."""

        result: list[dict[str, Any]] = pin("The rows.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the rows, or none."""
        yield "result", input.value or []


class AgentOutputBlock(Block):
    """A graph's output."""

    id = "363ae599-353e-4804-937e-b2ee3cef3da4"
    description = (
        "An output of the graph. With a format, a Jinja template that sees the value under the output's name, the "
        "filled template is emitted instead; a template that cannot be filled is emitted as a text that says why."
    )
    categories = OUTPUT
    kind = Kind.OUTPUT
    effect = Effect.PURE
    static_output = True
    examples = (
        Example({"name": "sum", "value": 3}, (("output", 3), ("name", "sum"))),
        Example({"name": "sum", "value": 3, "format": "It is {{ sum }}."}, (("output", "It is 3."),)),
    )

    class Input(BlockInput):
        """The value, its name, and how it is shown."""

        value: Any = pin("The value to hand out.", default=None, advanced=False)
        name: str = pin("What the output is called.")
        title: str | None = pin("What the page shows instead of the name.", default=None)
        description: str | None = pin("What the page explains about it.", default=None)
        format: str = pin("A Jinja template for the value.", default="", placeholder="It is {{ name }}.")
        escape_html: bool = pin("Whether the template escapes HTML in the value.", default=False)
        advanced: bool = pin("Whether the page shows it only on request.", default=False)
        secret: bool = pin("Whether the page hides it.", default=False)

    class Output(BaseModel):
        """What the graph hands out."""

        output: Any = pin("The value, or the filled template.")
        name: Any = pin("The output's name; not emitted with a format.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the value and its name, or the filled template."""
        if not input.format:
            yield "output", input.value
            yield "name", input.name
            return
        try:
            yield "output", render(input.format, {input.name: input.value}, escape_html=input.escape_html)
        except TemplateFailed as error:
            yield "output", f"Error: {error}"
