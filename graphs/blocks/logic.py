"""Blocks that decide, calculate, count and repeat."""

import math
import operator
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import orjson

from graphs.blocks.base import Block, BlockError, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin
from graphs.blocks.inputs import Unconvertible, convert

LOGIC = frozenset({Category.LOGIC})
MAX_ITEMS = 10_000
MAX_TEXT = 1_000_000


class Comparison(StrEnum):
    """How two values are compared."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"
    GREATER_OR_EQUAL = ">="
    LESS_OR_EQUAL = "<="


_COMPARE: dict[Comparison, Callable[[Any, Any], Any]] = {
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
    Comparison.GREATER: operator.gt,
    Comparison.LESS: operator.lt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
    Comparison.LESS_OR_EQUAL: operator.le,
}


class ConditionBlock(Block):
    """Sends a value one way or the other."""

    id = "715696a0-e1da-45c8-b209-c2fa9c3b0be6"
    description = (
        "Compares two values and emits on one of two pins. Texts are trimmed, and compared as numbers when both "
        "values are numeric. Without a yes_value the yes output is value1; without a no_value the no output is value2."
    )
    categories = LOGIC
    effect = Effect.PURE
    examples = (
        Example({"value1": "10", "operator": ">", "value2": 9}, (("result", True), ("yes_output", 10.0))),
        Example(
            {"value1": "a", "operator": "==", "value2": "b", "yes_value": "same", "no_value": "other"},
            (("result", False), ("no_output", "other")),
        ),
    )

    class Input(BlockInput):
        """Two values, how to compare them, and what to emit."""

        value1: Any = pin("The left value.", placeholder="10")
        operator: Comparison = pin("How to compare.")
        value2: Any = pin("The right value.", placeholder="20")
        yes_value: Any = pin("What to emit when it holds; null stands for value1.", default=None)
        no_value: Any = pin("What to emit when it does not; null stands for value2.", default=None)

    class Output(BlockOutput):
        """The outcome, and a value on one of two pins."""

        result: bool = pin("Whether it holds.")
        yes_output: Any = pin("Emitted when it holds.")
        no_output: Any = pin("Emitted when it does not.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the outcome, then the value of its branch."""
        left, right = _number_if_numeric(input.value1), _number_if_numeric(input.value2)
        try:
            holds = bool(_COMPARE[input.operator](left, right))
        except TypeError:
            kinds = f"{type(left).__name__} and {type(right).__name__}"
            raise BlockError(f"value1 and value2 cannot be compared with {input.operator}: {kinds}") from None
        yield "result", holds
        if holds:
            yield "yes_output", left if input.yes_value is None else input.yes_value
        else:
            yield "no_output", right if input.no_value is None else input.no_value


class IfInputMatchesBlock(Block):
    """Compares for equality across types."""

    id = "6dbbc4b3-ca6c-42b6-b508-da52d23e13f2"
    description = "Compares the input with a value, which is first converted to the input's type."
    categories = LOGIC
    effect = Effect.PURE
    examples = (
        Example({"input": 5, "value": "5", "yes_value": "five"}, (("result", True), ("yes_output", "five"))),
        Example({"input": "a", "value": "b"}, (("result", False), ("no_output", None))),
    )

    class Input(BlockInput):
        """Two values, and what to emit."""

        input: Any = pin("The value to look at.")
        value: Any = pin("What it shall equal.")
        yes_value: Any = pin("What to emit when they are equal.", default=None)
        no_value: Any = pin("What to emit when they differ.", default=None)

    class Output(BlockOutput):
        """The outcome, and a value on one of two pins."""

        result: bool = pin("Whether they are equal.")
        yes_output: Any = pin("Emitted when they are.")
        no_output: Any = pin("Emitted when they are not.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the outcome, then the value of its branch, null included."""
        try:
            same = bool(input.input == convert(input.value, type(input.input)))
        except Unconvertible:
            same = False
        yield "result", same
        yield ("yes_output", input.yes_value) if same else ("no_output", input.no_value)


class StepThroughItemsBlock(Block):
    """Emits the items of collections one by one."""

    id = "f66a3543-28d3-4ab5-8945-9b336371e2ce"
    description = (
        "Emits each item of a list or dictionary with its index or key: first those of items, then of items_object, "
        "then of items_str, which holds either as JSON. At most 10,000 items, and 1 MB of text."
    )
    categories = LOGIC
    effect = Effect.PURE
    examples = (
        Example({"items": ["a", "b"]}, (("item", "a"), ("key", 0), ("item", "b"), ("key", 1))),
        Example({"items_object": {"x": 1}}, (("item", 1), ("key", "x"))),
        Example({"items_str": "[7]"}, (("item", 7), ("key", 0))),
    )

    class Input(BlockInput):
        """Up to three collections."""

        items: list[Any] = pin("A list.", default=[], advanced=False, placeholder="[1, 2, 3]")
        items_object: dict[str, Any] = pin("A dictionary.", default={}, advanced=False)
        items_str: str = pin("A list or dictionary as JSON text.", default="", advanced=False)

    class Output(BlockOutput):
        """One item at a time."""

        item: Any = pin("The item.")
        key: Any = pin("Its index in the list, or its key in the dictionary.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit an item and a key for each."""
        pairs = [*_pairs(input.items), *_pairs(input.items_object), *_pairs(_parse(input.items_str))]
        if len(pairs) > MAX_ITEMS:
            raise BlockError(f"There are {len(pairs)} items; the limit is {MAX_ITEMS}")
        for key, item in pairs:
            yield "item", item
            yield "key", key


class Operation(StrEnum):
    """What the calculator does."""

    ADD = "Add"
    SUBTRACT = "Subtract"
    MULTIPLY = "Multiply"
    DIVIDE = "Divide"
    POWER = "Power"


_CALCULATE: dict[Operation, Callable[[float, float], Any]] = {
    Operation.ADD: operator.add,
    Operation.SUBTRACT: operator.sub,
    Operation.MULTIPLY: operator.mul,
    Operation.DIVIDE: operator.truediv,
    Operation.POWER: operator.pow,
}


class CalculatorBlock(Block):
    """One operation on two numbers."""

    id = "b1ab9b19-67a6-406d-abf5-2dba76d00c79"
    description = (
        "Calculates with two numbers. A division by zero, a result that is no real number and one that is too large "
        "are errors, since JSON has no infinity."
    )
    categories = LOGIC
    effect = Effect.PURE
    examples = (
        Example({"operation": "Add", "a": 10, "b": 5}, (("result", 15.0),)),
        Example({"operation": "Divide", "a": 7, "b": 2, "round_result": True}, (("result", 4.0),)),
    )

    class Input(BlockInput):
        """An operation and its operands."""

        operation: Operation = pin("What to do with a and b.")
        a: float = pin("The first number.", placeholder="10")
        b: float = pin("The second number.", placeholder="5")
        round_result: bool = pin("Whether to round to a whole number; halves go to the even one.", default=False)

    class Output(BlockOutput):
        """A number."""

        result: float = pin("The result.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the result."""
        try:
            result = _CALCULATE[input.operation](input.a, input.b)
        except ZeroDivisionError:
            raise BlockError("division by zero") from None
        except OverflowError:
            raise BlockError("the result is too large") from None
        if isinstance(result, complex) or not math.isfinite(result):
            raise BlockError(f"{input.operation} of {input.a} and {input.b} has no finite real result")
        yield "result", float(round(result)) if input.round_result else result


class CountItemsBlock(Block):
    """Counts."""

    id = "3c9c2f42-b0c3-435f-ba35-05f7a25c772a"
    description = "Counts the items of a list or dictionary, or the characters of a text. Anything else counts -1."
    categories = LOGIC
    effect = Effect.PURE
    examples = (
        Example({"collection": ["a", "b"]}, (("count", 2),)),
        Example({"collection": "four"}, (("count", 4),)),
        Example({"collection": 12}, (("count", -1),)),
    )

    class Input(BlockInput):
        """A collection."""

        collection: Any = pin("What to count.", placeholder="[1, 2, 3]")

    class Output(BlockOutput):
        """A number."""

        count: int = pin("How many.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the count."""
        countable = isinstance(input.collection, (str, list, tuple, set, frozenset, dict))
        yield "count", len(input.collection) if countable else -1


def _number_if_numeric(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.strip()
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def _pairs(collection: Any) -> Iterable[tuple[Any, Any]]:
    return collection.items() if isinstance(collection, dict) else enumerate(collection)


def _parse(text: str) -> Any:
    if not text:
        return []
    if len(text) > MAX_TEXT:
        raise BlockError(f"items_str has {len(text)} characters; the limit is {MAX_TEXT}")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BlockError(f"items_str is not JSON: {error}") from None
    if not isinstance(found, (list, dict)):
        raise BlockError("items_str must hold a JSON list or object")
    return found
