"""Blocks that build, read and change lists. None changes the list it is given."""

from typing import Any

import orjson

from graphs.blocks.base import Block, BlockError, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.blocks.fields import pin

BASIC = frozenset({Category.BASIC})

# Pins called `list` hide the builtin inside their class.
Items = list[Any]


class CreateListBlock(Block):
    """Makes a list, or several of a limited size."""

    id = "a912d5c7-6e00-4542-b2a9-8034136930e4"
    description = (
        "Makes a list of the values. With max_size (items) or max_tokens (about four characters of JSON each) it "
        "emits several lists that keep within the limits; a single item above max_tokens gets a list of its own."
    )
    categories = frozenset({Category.DATA})
    effect = Effect.PURE
    examples = (
        Example({"values": ["a", 1]}, (("list", ["a", 1]),)),
        Example({"values": [1, 2, 3], "max_size": 2}, (("list", [1, 2]), ("list", [3]))),
        Example({"values": []}, (("list", []),)),
    )

    class Input(BlockInput):
        """Values, and the limits of one list."""

        values: Items = pin("The values, one by one on pins such as values_$_0.", placeholder='["a", 1]')
        max_size: int | None = pin("The most items of one list.", default=None, ge=1)
        max_tokens: int | None = pin("About the most tokens of one list.", default=None, ge=1)

    class Output(BlockOutput):
        """One list, or several in order."""

        list: Items = pin("The list.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the lists."""
        chunk: Items = []
        used = 0
        for value in input.values:
            size = -(-len(orjson.dumps(value, default=str)) // 4) if input.max_tokens else 0
            full = input.max_size is not None and len(chunk) >= input.max_size
            heavy = input.max_tokens is not None and used + size > input.max_tokens
            if chunk and (full or heavy):
                yield "list", chunk
                chunk, used = [], 0
            chunk.append(value)
            used += size
        if chunk or not input.values:
            yield "list", chunk


class AddToListBlock(Block):
    """Adds to a copy of a list; linked back to itself it collects what arrives."""

    id = "aeb08fc1-2fc1-4141-bc8e-f758f183a822"
    description = (
        "Adds entries and an entry to a list, at its end or at a position. Any entry but null is added, 0 and empty "
        "texts too. Link updated_list back to list to collect values."
    )
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"list": [1], "entry": 2}, (("updated_list", [1, 2]),)),
        Example(
            {"list": [1], "entry": 0, "entries": ["", False], "position": 0}, (("updated_list", ["", False, 0, 1]),)
        ),
        Example({"list": [1]}, (("updated_list", [1]),)),
    )

    class Input(BlockInput):
        """A list and what to add."""

        list: Items = pin("The list to add to.", default=[], advanced=False)
        entry: Any = pin("What to add, behind the entries.", default=None, advanced=False)
        entries: Items = pin("Several things to add.", default=[])
        position: int | None = pin("Where to add: 0 is the start, negative counts from the end.", default=None)

    class Output(BlockOutput):
        """The longer list."""

        updated_list: Items = pin("A copy with what was added.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the longer copy."""
        added = input.entries if input.entry is None else [*input.entries, input.entry]
        at = len(input.list) if input.position is None else input.position
        updated = input.list.copy()
        updated[at:at] = added
        yield "updated_list", updated


class FindInListBlock(Block):
    """Looks for a value."""

    id = "5e2c6d0a-1e37-489f-b1d0-8e1812b23333"
    description = "Finds the first place of a value in a list."
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"list": ["a", "b"], "value": "b"}, (("index", 1), ("found", True))),
        Example({"list": ["a"], "value": "c"}, (("found", False), ("not_found_value", "c"))),
    )

    class Input(BlockInput):
        """A list and a value."""

        list: Items = pin("The list to search.")
        value: Any = pin("What to look for.")

    class Output(BlockOutput):
        """The place, or the value that is nowhere."""

        index: int = pin("The place, from 0.")
        found: bool = pin("Whether it was found.")
        not_found_value: Any = pin("The value, when it was not found.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the place, or that there is none."""
        if input.value in input.list:
            yield "index", input.list.index(input.value)
            yield "found", True
        else:
            yield "found", False
            yield "not_found_value", input.value


class GetListItemBlock(Block):
    """Reads one item."""

    id = "262ca24c-1025-43cf-a578-534e23234e97"
    description = "Emits the item at an index; -1 is the last."
    categories = BASIC
    effect = Effect.PURE
    examples = (Example({"list": ["a", "b"], "index": -1}, (("item", "b"),)),)

    class Input(BlockInput):
        """A list and an index."""

        list: Items = pin("The list.")
        index: int = pin("The place, from 0; negative counts from the end.")

    class Output(BlockOutput):
        """One item."""

        item: Any = pin("The item.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the item."""
        yield "item", input.list[_inside(input.list, input.index)]


class RemoveFromListBlock(Block):
    """Removes one item."""

    id = "d93c5a93-ac7e-41c1-ae5c-ef67e6e9b826"
    description = (
        "Removes the item at an index, else the first that equals a value. The index wins when both are given."
    )
    categories = BASIC
    effect = Effect.PURE
    examples = (
        Example({"list": [1, 2, 3], "index": 0}, (("updated_list", [2, 3]),)),
        Example({"list": [1, 2], "value": 2, "return_item": True}, (("updated_list", [1]), ("removed_item", 2))),
    )

    class Input(BlockInput):
        """A list and what to remove."""

        list: Items = pin("The list.")
        value: Any = pin("What to remove.", default=None, advanced=False)
        index: int | None = pin("The place to remove.", default=None, advanced=False)
        return_item: bool = pin("Whether to emit what was removed.", default=False)

    class Output(BlockOutput):
        """The shorter list."""

        updated_list: Items = pin("A copy without the item.")
        removed_item: Any = pin("The item, on request.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the shorter copy, and what was removed on request."""
        if input.index is not None:
            index = _inside(input.list, input.index)
        elif input.value is None:
            raise BlockError("give an index or a value to remove")
        elif input.value in input.list:
            index = input.list.index(input.value)
        else:
            raise BlockError("the value is not in the list")
        updated = input.list.copy()
        removed = updated.pop(index)
        yield "updated_list", updated
        if input.return_item:
            yield "removed_item", removed


class ReplaceListItemBlock(Block):
    """Replaces one item."""

    id = "fbf62922-bea1-4a3d-8bac-23587f810b38"
    description = "Replaces the item at an index; -1 is the last."
    categories = BASIC
    effect = Effect.PURE
    examples = (Example({"list": [1, 2], "index": 1, "value": 9}, (("updated_list", [1, 9]), ("old_item", 2))),)

    class Input(BlockInput):
        """A list, a place and a value."""

        list: Items = pin("The list.")
        index: int = pin("The place, from 0; negative counts from the end.")
        value: Any = pin("What to put there.")

    class Output(BlockOutput):
        """The changed list."""

        updated_list: Items = pin("A copy with the new item.")
        old_item: Any = pin("What was there before.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the changed copy and the replaced item."""
        index = _inside(input.list, input.index)
        updated = input.list.copy()
        old, updated[index] = updated[index], input.value
        yield "updated_list", updated
        yield "old_item", old


class ListIsEmptyBlock(Block):
    """Tells whether a list has items."""

    id = "896ed73b-27d0-41be-813c-c1c1dc856c03"
    description = "Tells whether a list is empty."
    categories = BASIC
    effect = Effect.PURE
    examples = (Example({"list": []}, (("is_empty", True),)),)

    class Input(BlockInput):
        """A list."""

        list: Items = pin("The list.")

    class Output(BlockOutput):
        """Yes or no."""

        is_empty: bool = pin("Whether it is empty.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the answer."""
        yield "is_empty", not input.list


class ConcatenateListsBlock(Block):
    """Joins lists."""

    id = "3cf9298b-5817-4141-9d80-7c2cc5199c8e"
    description = "Joins lists in order; nulls among them are skipped."
    categories = BASIC
    effect = Effect.PURE
    examples = (Example({"lists": [[1], None, [2, 3]]}, (("concatenated_list", [1, 2, 3]),)),)

    class Input(BlockInput):
        """A list of lists."""

        lists: Items = pin("The lists.", placeholder="[[1, 2], [3]]")

    class Output(BlockOutput):
        """One list."""

        concatenated_list: Items = pin("All items.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the joined list."""
        joined: Items = []
        for index, part in enumerate(input.lists):
            if part is None:
                continue
            if not isinstance(part, list):
                raise BlockError(f"item {index} of lists is no list but {type(part).__name__}")
            joined += part
        yield "concatenated_list", joined


class ReverseListOrderBlock(Block):
    """Turns a list around."""

    id = "422cb708-3109-4277-bfe3-bc2ae5812777"
    description = "Emits the list from its last item to its first."
    categories = BASIC
    effect = Effect.PURE
    examples = (Example({"input_list": [1, 2, 3]}, (("reversed_list", [3, 2, 1]),)),)

    class Input(BlockInput):
        """A list."""

        input_list: Items = pin("The list.")

    class Output(BlockOutput):
        """The list the other way round."""

        reversed_list: Items = pin("The reversed copy.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the reversed copy."""
        yield "reversed_list", input.input_list[::-1]


def _inside(items: Items, index: int) -> int:
    if not -len(items) <= index < len(items):
        raise BlockError(f"index {index} is outside of the list, which has {len(items)} items")
    return index
