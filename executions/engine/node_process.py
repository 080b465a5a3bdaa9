"""What happens in the process of an isolated block: it runs the block, says what came of it, and ends.

It knows the blocks and nothing else: no rows, no queue. Messages to the worker are a letter and JSON: `O` with a
(pin, value) pair for each output, then `E` with the end: `{}`, `{"error": text}` or `{"suspension": what to wait for}`.
"""

import asyncio
import contextlib
import os
import resource
import threading
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any

import orjson

from core import http, json
from executions.engine.crossing import context_from_json, suspension_to_json
from executions.engine.emissions import explain, pair
from graphs.blocks.base import AsyncEmissions, Block, BlockError, Emission, Emissions, Suspension
from graphs.blocks.inputs import check_output, prepare
from graphs.blocks.registry import BLOCKS

OUTPUT = b"O"
END = b"E"
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
_MEGABYTE = 1024 * 1024


def run_node(
    outbox: Connection, lifeline: Connection, block_id: str, inputs: tuple[str, ...], context: str, megabytes: int
) -> None:
    """Run a block in this process, which ends when the other end of `lifeline` is closed.

    `inputs` are JSON by pin, of which the later ones win; `context` is JSON, too. `megabytes` is how much address space
    the process may take.
    """
    # A session of its own: what the block starts can be ended with it.
    os.setsid()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    # Some systems do not let a process limit itself so; there nothing is limited.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * _MEGABYTE, megabytes * _MEGABYTE))
    end = _end_of(Outbox(outbox), block_id, inputs, context, megabytes)
    outbox.send_bytes(END + json.encode(end))


class Outbox:
    """The way of a block's outputs out of its process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._size = 0

    def send(self, block: Block, emission: Emission) -> None:
        """Send what the block yielded; raises `BlockError` or `DomainError` when it cannot be taken."""
        pin, value = pair(emission)
        check_output(block, pin, value)
        message = OUTPUT + json.encode([pin, value])
        self._size += len(message)
        if self._size > MAX_OUTPUT_BYTES:
            raise BlockError(f"Its outputs take more than {MAX_OUTPUT_BYTES // _MEGABYTE} MB together")
        self._connection.send_bytes(message)


def _end_with(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _end_of(outbox: Outbox, block_id: str, inputs: tuple[str, ...], context: str, megabytes: int) -> dict[str, Any]:
    """How the block ended."""
    try:
        block = BLOCKS.get(block_id)
        emissions = block.run(
            prepare(block, {pin: value for part in inputs for pin, value in orjson.loads(part).items()}),
            context_from_json(orjson.loads(context)),
        )
        if isinstance(emissions, AsyncIterator):
            suspension = asyncio.run(_forward_async(block, emissions, outbox))
        else:
            suspension = _forward(block, emissions, outbox)
        return {} if suspension is None else {"suspension": suspension_to_json(suspension)}
    except MemoryError:
        return {"error": f"It needs more memory than TASKLOOM_NODE_MEMORY_MB allows, {megabytes} MB"}
    # A block is foreign code: whatever it raises, even to end the process, is its node's failure.
    except BaseException as error:
        return {"error": explain(error)}


def _forward(block: Block, emissions: Emissions, outbox: Outbox) -> Suspension | None:
    for emission in emissions:
        if isinstance(emission, Suspension):
            return emission
        outbox.send(block, emission)
    return None


async def _forward_async(block: Block, emissions: AsyncEmissions, outbox: Outbox) -> Suspension | None:
    try:
        async for emission in emissions:
            if isinstance(emission, Suspension):
                return emission
            outbox.send(block, emission)
        return None
    finally:
        await http.close()
