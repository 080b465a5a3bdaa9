"""What happens in the process of an isolated block: it runs the block, says what came of it, and ends.

It knows the blocks and nothing else: no rows, no queue. Messages to the worker are a letter and JSON: `B` when it
begins, `O` with a (pin, value) pair for each output, `U` with the number of tokens that it says it used, `F` with what
it wants of the user's files, then `E` with the end: `{}`, `{"error": text}`, with "later" if it asks to be tried again
in so many seconds, or `{"suspension": what to wait for}`. As long as the worker takes no messages, the block waits.
"""

import asyncio
import contextlib
import os
import pickle
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

from core import http, json
from executions.engine.crossing import context_from_json, suspension_to_json
from executions.engine.emissions import explain, pair, seconds_of, stream_of, suspension_of
from executions.engine.far_files import FarFiles, Line
from graphs.blocks import files
from graphs.blocks.base import AsyncEmissions, Block, BlockError, Emission, Emissions, Suspension, TryLater, Used
from graphs.blocks.inputs import check_output, prepare
from graphs.blocks.registry import BLOCKS

BEGIN = b"B"
OUTPUT = b"O"
USED = b"U"
END = b"E"
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """Which block to run. `inputs` are JSON by pin, of which the later ones win; `context` is JSON, too.

    `megabytes` is how much address space the process may take.
    """

    block_id: str
    inputs: tuple[str, ...]
    context: str
    megabytes: int


def run_node(worker: Connection) -> None:
    """Run the block that the first message orders, in this process."""
    order: Order = pickle.loads(worker.recv_bytes())  # noqa: S301  our own worker wrote it
    # A session of its own: what the block starts can be ended with it.
    os.setsid()
    # Some systems do not let a process limit itself so; there nothing is limited.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (order.megabytes * _MEGABYTE, order.megabytes * _MEGABYTE))
    line = Line(worker)
    files.connect(FarFiles(line))
    line.say(BEGIN)
    line.say(END + json.encode(_end_of(Outbox(line), order)))


class Outbox:
    """The way of a block's outputs out of its process."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def send(self, block: Block, emission: Emission | Used) -> None:
        """Send what the block yielded; raises `BlockError` or `DomainError` when it cannot be taken."""
        if isinstance(emission, Used):
            self._line.say(USED + json.encode(max(0, emission.tokens)))
            return
        pin, value = pair(emission)
        check_output(block, pin, value)
        message = OUTPUT + json.encode([pin, value])
        if len(message) > MAX_OUTPUT_BYTES:
            raise BlockError(f"An output takes more than {MAX_OUTPUT_BYTES // _MEGABYTE} MB")
        self._line.say(message)


def _end_of(outbox: Outbox, order: Order) -> dict[str, Any]:
    """How the block ended."""
    try:
        block = BLOCKS.get(order.block_id)
        data = {pin: value for part in order.inputs for pin, value in json.decode(part).items()}
        emissions = stream_of(block, block.run(prepare(block, data), context_from_json(json.decode(order.context))))
        if isinstance(emissions, AsyncIterator):
            suspension = asyncio.run(_forward_async(block, emissions, outbox))
        else:
            suspension = _forward(block, emissions, outbox)
        return {} if suspension is None else {"suspension": suspension_to_json(suspension)}
    except TryLater as error:
        return {"error": explain(error), "later": seconds_of(error)}
    except MemoryError:
        return {"error": f"It needs more memory than TASKLOOM_NODE_MEMORY_MB allows, {order.megabytes} MB"}
    # A block is foreign code: whatever it raises, even to end the process, is its node's failure.
    except BaseException as error:
        return {"error": explain(error)}


def _forward(block: Block, emissions: Emissions, outbox: Outbox) -> Suspension | None:
    for emission in emissions:
        suspension = suspension_of(emission)
        if suspension is not None:
            return suspension
        outbox.send(block, cast(Emission | Used, emission))
    return None


async def _forward_async(block: Block, emissions: AsyncEmissions, outbox: Outbox) -> Suspension | None:
    try:
        async for emission in emissions:
            suspension = suspension_of(emission)
            if suspension is not None:
                return suspension
            outbox.send(block, cast(Emission | Used, emission))
        return None
    finally:
        await http.close()
