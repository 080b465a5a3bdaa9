"""Runs one block as the engine does: inputs prepared, outputs checked, suspensions answered."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from graphs.blocks.base import Block, Context, Suspension, Used
from graphs.blocks.inputs import check_output, prepare
from graphs.blocks.registry import BLOCKS

RUN = UUID("01980000-0000-7000-8000-0000000000aa")
KEY = "run:node:1"


def block_named(name: str) -> Block:
    """The block with this name."""
    return next(block for block in BLOCKS.all() if block.name == name)


async def run(block: Block | str, data: Mapping[str, Any], answers: Sequence[Any] = (), **about: Any) -> list[Any]:
    """All that the block yields, suspensions included; each of `answers` answers one, and each must be asked for.

    `about` is what the context says beside them.
    """
    block = block_named(block) if isinstance(block, str) else block
    yielded: list[Any] = []
    for given in range(len(answers) + 1):
        context = Context(RUN, RUN, RUN, RUN, KEY, answers=tuple(answers[:given]), **about)
        suspension = await _turn(block, data, context, yielded)
        if suspension is None:
            assert given == len(answers), "the block did not ask for all the answers"
            return yielded
        yielded.append(suspension)
    return yielded


async def values(block: Block | str, data: Mapping[str, Any], answers: Sequence[Any] = ()) -> list[Any]:
    """The (pin, value) pairs that the block yields."""
    return [item for item in await run(block, data, answers) if isinstance(item, tuple)]


async def _turn(block: Block, data: Mapping[str, Any], context: Context, yielded: list[Any]) -> Suspension | None:
    """One run from the block's start to its end or next suspension."""
    emissions = block.run(prepare(block, data), context)
    steps = emissions if isinstance(emissions, AsyncIterator) else _in_turn(emissions)
    async for step in steps:
        if isinstance(step, Suspension):
            return step
        if isinstance(step, Used):
            continue
        check_output(block, *step)
        yielded.append(step)
    return None


async def _in_turn(steps: Any) -> AsyncIterator[Any]:
    for step in steps:
        yield step
