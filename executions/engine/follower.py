"""Following blocks that run in processes of their own: what they give is handed on while they run."""

import asyncio
from collections.abc import Awaitable, Callable

from core import json
from executions.engine.crossing import suspension_from_json
from executions.engine.mailbox import Emitted, Ended, Mailbox, Silent
from executions.engine.state import Activation
from executions.engine.waits import taken_up
from executions.node_tasks import Ending, Part
from graphs.blocks.base import BlockError, TryLater

# How often to look for more, and after how long without any the run may as well park.
LOOK_SECONDS = 0.05
PATIENCE = 1.0

NewsOf = Callable[[str, int], Awaitable[Part | Ending | None]]


async def follow(activation: Activation, task_id: str, news_of: NewsOf, mailbox: Mailbox) -> Ending | Silent | None:
    """Hand on what the activation's block gives, from where it was last left.

    Returns how it ended, or that it is silent for now; None when nobody knows of it any more. When it is unknown how
    far the block came, that is told only while nothing of what it gave is on its way.
    """
    position = first = taken_up(activation.waits[-1])
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while loop.time() - heard_at < PATIENCE:
        match await news_of(task_id, position):
            case Part(count=0):
                await asyncio.sleep(LOOK_SECONDS)
            case Part() as part:
                if position == first:
                    activation.skip -= first
                await _hand_on(part, activation, mailbox)
                position += part.count
                heard_at = loop.time()
            case Ending(is_lost=True) if position > first:
                break
            case ending:
                return ending
    return Silent(activation, position)


def tell_end(activation: Activation, ending: Ending, mailbox: Mailbox) -> None:
    """Tell how a block ended whose outputs were handed on."""
    activation.seconds += ending.seconds
    activation.used_tokens += ending.used_tokens
    mailbox.put(
        Ended(
            activation,
            _error_of(ending),
            None if ending.suspension is None else suspension_from_json(ending.suspension),
            is_unknown=ending.is_lost,
        )
    )


def _error_of(ending: Ending) -> BlockError | None:
    if ending.later:
        return TryLater(ending.error, ending.later)
    return BlockError(ending.error) if ending.error else None


async def _hand_on(part: Part, activation: Activation, mailbox: Mailbox) -> None:
    for pin, value in json.decode(part.outputs):
        await mailbox.put_emission(Emitted(activation, (pin, value), activation.attempt))
