"""What a dry run gives in place of a block that would look at the world or change it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from graphs.blocks.base import Block, Effect, Example, Kind


def is_rehearsed(block: Block) -> bool:
    """Whether a dry run leaves the block out. One that only computes runs, and one that calls a graph: dry as well."""
    return block.effect is not Effect.PURE and block.kind is not Kind.AGENT


def rehearse(block: Block, data: Mapping[str, Any]) -> Iterator[Any]:
    """What the block gives in the example of its own that is most like the input; one that fails only if all do."""

    def likeness(example: Example) -> tuple[bool, int]:
        succeeds = all(pin != "error" for pin, _ in example.output)
        return succeeds, sum(pin in data and data[pin] == value for pin, value in example.input.items())

    return iter(max(block.examples, key=likeness).output)
