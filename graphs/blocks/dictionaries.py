"""Blocks that build, read and change dictionaries. None changes the dictionary it is given."""

from typing import Any

import orjson

from graphs.blocks.base import Block, BlockError, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin

BASIC = frozenset({Category.BASIC})


class CreateDictionaryBlock(Block):
    """Makes a dictionary of what arrives on its pins."""

    id = "b924ddf4-de4f-4b56-9a85-358930dcbc91"
    description = "Makes a dictionary of the values, given one by one on pins such as values_#_name."
    categories = frozenset({Category.DATA})
    effect = Effect.PURE
    examples = (Example({"values": {"name": "Ada", "age": 36}}, (("dictionary", {"name": "Ada", "age": 36}),)),)

    class Input(BlockInput):
        """Values by key."""

        values: dict[str, Any] = pin("The values by key.", placeholder='{"name": "Ada"}')

    class Output(BlockOutput):
        """The dictionary."""

        dictionary: dict[str, Any] = pin("The dictionary.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the dictionary."""
        yield "dictionary", input.values


class AddToDictionaryBlock(Block):
    """Adds to a copy of a dictionary."""

    id = "31d1064e-7446-4693-a7d4-65e5ca1180d1"
    description = "Sets a key, unless the key is empty or the value null, and then all of entries."
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"dictionary": {"a": 1}, "key": "b", "value": 0}, (("updated_dictionary", {"a": 1, "b": 0}),)),
        Example({"dictionary": {"a": 1}, "entries": {"a": 2}}, (("updated_dictionary", {"a": 2}),)),
    )

    class Input(BlockInput):
        """A dictionary and what to set."""

        dictionary: dict[Any, Any] = pin("The dictionary to add to.", default={}, advanced=False)
        key: str = pin("The key to set.", default="", advanced=False)
        value: Any = pin("Its value.", default=None, advanced=False)
        entries: dict[Any, Any] = pin("Several keys with their values.", default={})

    class Output(BlockOutput):
        """The larger dictionary."""

        updated_dictionary: dict[Any, Any] = pin("A copy with what was set.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the larger copy."""
        single = {input.key: input.value} if input.key and input.value is not None else {}
        yield "updated_dictionary", {**input.dictionary, **single, **input.entries}


class FindInDictionaryBlock(Block):
    """Looks a key up."""

    id = "0e50422c-6dee-4145-83d6-3a5a392f65de"
    description = (
        "Emits the value of a key, the list item at an index, or of a list of dictionaries the list of that key's "
        "values. A text is read as JSON. What is not there is emitted on missing, as the whole input."
    )
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"input": {"a": 1}, "key": "a"}, (("output", 1),)),
        Example({"input": '{"a": {"b": 2}}', "key": "a"}, (("output", {"b": 2}),)),
        Example({"input": ["x", "y"], "key": 1}, (("output", "y"),)),
        Example({"input": [{"n": 1}, {"n": 2}], "key": "n"}, (("output", [1, 2]),)),
        Example({"input": {"a": 1}, "key": "items"}, (("missing", {"a": 1}),)),
    )

    class Input(BlockInput):
        """Where to look, and for what."""

        input: Any = pin("A dictionary, a list or either as JSON text.")
        key: str | int = pin("A key, or a list's index from 0.", placeholder="name")

    class Output(BlockOutput):
        """What was found, or what was searched."""

        output: Any = pin("The value.")
        missing: Any = pin("The input, when it has no such key.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the value, or the input on `missing`."""
        value = _parsed(input.input) if isinstance(input.input, str) else input.input
        key = input.key
        if isinstance(value, dict) and (found := _key_in(value, key)) is not None:
            yield "output", value[found]
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            yield "output", value[key]
        # The first item decides whether this is a table: a list of dictionaries that have the key.
        elif isinstance(value, list) and isinstance(key, str) and (not value or _has(value[0], key)):
            yield "output", [item[key] for item in value if _has(item, key)]
        else:
            yield "missing", input.input


class RemoveFromDictionaryBlock(Block):
    """Removes a key."""

    id = "46afe2ea-c613-43f8-95ff-6692c3ef6876"
    description = "Removes a key from a dictionary."
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"dictionary": {"a": 1, "b": 2}, "key": "a"}, (("updated_dictionary", {"b": 2}),)),
        Example(
            {"dictionary": {"a": 1}, "key": "a", "return_value": True},
            (("updated_dictionary", {}), ("removed_value", 1)),
        ),
    )

    class Input(BlockInput):
        """A dictionary and a key."""

        dictionary: dict[Any, Any] = pin("The dictionary.")
        key: str | int = pin("The key to remove.")
        return_value: bool = pin("Whether to emit what was removed.", default=False)

    class Output(BlockOutput):
        """The smaller dictionary."""

        updated_dictionary: dict[Any, Any] = pin("A copy without the key.")
        removed_value: Any = pin("The value, on request.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the smaller copy, and what was removed on request."""
        updated = input.dictionary.copy()
        removed = updated.pop(_known(updated, input.key))
        yield "updated_dictionary", updated
        if input.return_value:
            yield "removed_value", removed


class ReplaceDictionaryValueBlock(Block):
    """Replaces a key's value."""

    id = "27e31876-18b6-44f3-ab97-f6226d8b3889"
    description = "Replaces the value of a key that the dictionary has."
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"dictionary": {"a": 1}, "key": "a", "value": 2}, (("updated_dictionary", {"a": 2}), ("old_value", 1))),
    )

    class Input(BlockInput):
        """A dictionary, a key and a value."""

        dictionary: dict[Any, Any] = pin("The dictionary.")
        key: str | int = pin("The key.")
        value: Any = pin("Its new value.")

    class Output(BlockOutput):
        """The changed dictionary."""

        updated_dictionary: dict[Any, Any] = pin("A copy with the new value.")
        old_value: Any = pin("What the key held before.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the changed copy and the replaced value."""
        key = _known(input.dictionary, input.key)
        yield "updated_dictionary", {**input.dictionary, key: input.value}
        yield "old_value", input.dictionary[key]


class DictionaryIsEmptyBlock(Block):
    """Tells whether a dictionary has keys."""

    id = "a3cf3f64-6bb9-4cc6-9900-608a0b3359b0"
    description = "Tells whether a dictionary is empty."
    categories = BASIC
    effect = Effect.PURE
    examples = (Example({"dictionary": {"a": 1}}, (("is_empty", False),)),)

    class Input(BlockInput):
        """A dictionary."""

        dictionary: dict[Any, Any] = pin("The dictionary.")

    class Output(BlockOutput):
        """Yes or no."""

        is_empty: bool = pin("Whether it is empty.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the answer."""
        yield "is_empty", not input.dictionary


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BlockError(f"the input is a text but not JSON: {error}") from None


def _key_in(dictionary: dict[Any, Any], key: str | int) -> str | int | None:
    """The key as the dictionary has it: JSON only knows keys that are texts, so 1 finds "1" too."""
    if key in dictionary:
        return key
    return str(key) if str(key) in dictionary else None


def _known(dictionary: dict[Any, Any], key: str | int) -> str | int:
    found = _key_in(dictionary, key)
    if found is None:
        raise BlockError(f"the dictionary has no key {key!r}")
    return found


def _has(item: Any, key: str) -> bool:
    return isinstance(item, dict) and key in item
