"""Blocks that keep, show and convert a value."""

from enum import StrEnum
from typing import Any

from graphs.blocks.base import (
    Block,
    BlockError,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Emissions,
    Example,
    Kind,
)
from graphs.blocks.fields import pin
from graphs.blocks.inputs import Unconvertible, convert


class StoreValueBlock(Block):
    """Keeps a value for every later run of the nodes behind it, since its output is static."""

    id = "1ff065e9-88e8-4358-9d82-8dc91f622ba9"
    description = "Keeps a value: what follows may use it any number of times. Emits data when it has one, else input."
    categories = frozenset({Category.BASIC})
    effect = Effect.PURE
    static_output = True
    examples = (
        Example({"input": "fallback"}, (("output", "fallback"),)),
        Example({"input": "fallback", "data": "kept"}, (("output", "kept"),)),
    )

    class Input(BlockInput):
        """A value, or a constant in its place."""

        input: Any = pin("The value to keep.")
        data: Any = pin("A constant to keep instead; empty ones such as 0 or an empty text do not count.", default=None)

    class Output(BlockOutput):
        """The kept value."""

        output: Any = pin("The value.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the constant unless it is empty, which stored graphs rely on."""
        yield "output", input.data or input.input


class PrintToConsoleBlock(Block):
    """Shows a value in the run's view."""

    id = "f3b1c1b2-4c4f-4f0d-8d2f-4c4f0d8d2f4c"
    description = "Shows a value among the run's results."
    categories = frozenset({Category.BASIC})
    effect = Effect.PURE
    sensitive = True
    examples = (Example({"text": "Hello"}, (("output", "Hello"), ("status", "printed"))),)

    class Input(BlockInput):
        """What to show."""

        text: Any = pin("The value to show.")

    class Output(BlockOutput):
        """What was shown."""

        output: Any = pin("The value.")
        status: str = pin("Always `printed`.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the value, then the status."""
        yield "output", input.text
        yield "status", "printed"


class NoteBlock(Block):
    """A remark on the canvas."""

    id = "cc10ff7b-7753-4ff2-9af6-9399b1a7eddc"
    description = "A note for people who read the graph. It never starts by itself."
    categories = frozenset({Category.BASIC})
    kind = Kind.NOTE
    effect = Effect.PURE
    examples = (Example({"text": "Remember the milk"}, (("output", "Remember the milk"),)),)

    class Input(BlockInput):
        """The remark."""

        text: str = pin("The note.")

    class Output(BlockOutput):
        """The remark."""

        output: str = pin("The note.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the note."""
        yield "output", input.text


class ValueType(StrEnum):
    """What a value can be converted to."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    DICTIONARY = "dictionary"


_PYTHON_TYPES: dict[ValueType, Any] = {
    ValueType.STRING: str,
    ValueType.NUMBER: float,
    ValueType.BOOLEAN: bool,
    ValueType.LIST: list,
    ValueType.DICTIONARY: dict,
}


class UniversalTypeConverterBlock(Block):
    """Converts as the pins themselves do."""

    id = "95d1b990-ce13-4d88-9737-ba5c2070c97b"
    description = (
        "Converts a value to a text, number, boolean, list or dictionary. A text that is no number is an error, and "
        "a list or dictionary becomes the number of its items."
    )
    categories = frozenset({Category.BASIC})
    effect = Effect.PURE
    examples = (
        Example({"value": "2.5", "type": "number"}, (("value", 2.5),)),
        Example({"value": [1, 2], "type": "string"}, (("value", "[1,2]"),)),
        Example({"value": "true", "type": "boolean"}, (("value", True),)),
        Example({"value": '["a"]', "type": "list"}, (("value", ["a"]),)),
        Example({"value": ["a", "b"], "type": "dictionary"}, (("value", {"0": "a", "1": "b"}),)),
    )

    class Input(BlockInput):
        """A value and the type it shall have."""

        value: Any = pin("The value to convert.")
        type: ValueType = pin("What to convert it to.")

    class Output(BlockOutput):
        """The converted value."""

        value: Any = pin("The value in its new type.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the converted value."""
        if input.value is None:
            raise BlockError(f"null cannot be converted to a {input.type}")
        try:
            yield "value", convert(input.value, _PYTHON_TYPES[input.type])
        except Unconvertible as reason:
            raise BlockError(f"The value cannot be converted: {reason}") from None
