"""A block by itself, run at once for somebody who waits: no run and no rows, no credentials, nothing charged.

It runs in a process of its own, whatever it declares, so that one that hangs, crashes or takes too much memory hurts
nobody else's requests.
"""

import atexit
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from multiprocessing.connection import wait
from threading import BoundedSemaphore
from typing import Any

from django.conf import settings
from django.db import connection

from accounts.models import User
from core import json
from core.ids import uuid7
from executions.engine.crossing import context_to_json
from executions.engine.far_files import FILE, serve
from executions.engine.forks import ForkServer, NodeProcess
from executions.engine.node_process import BEGIN, END, MAX_OUTPUT_BYTES, OUTPUT, Order
from executions.errors import BlockDisabled, BlockFailed, BlockInputInvalid, BlocksBusy, BlockWaits
from graphs.blocks.base import BadInput, BadPath, Block, Context
from graphs.blocks.inputs import prepare
from graphs.blocks.registry import BLOCKS
from graphs.offer import is_offered
from graphs.pins import merge

SECONDS = 30.0
# How long a request waits for its turn.
TURN_SECONDS = 5.0
_START_SECONDS = 20.0

Outputs = dict[str, list[Any]]


def run_block(user: User, block_id: str, inputs: Mapping[str, Any]) -> Outputs:
    """Run a block with these inputs for `user`, and return what it gave, lists by pin.

    Its effects happen. Raises `UnknownBlock`, `BlockDisabled`, `BlockInputInvalid`, `BlockFailed` with what it gave
    before, `BlockWaits` for one that wants a person, a time or another graph, and `BlocksBusy`.
    """
    block = BLOCKS.get(block_id)
    if not is_offered(block):
        raise BlockDisabled(f"The block {block.name} is switched off", block_id=block_id)
    given = json.encode(_checked(block, inputs)).decode()
    context = _context(user)
    order = Order(block.id, (given,), json.encode(context_to_json(context)).decode(), settings.NODE_MEMORY_MB)
    if not connection.in_atomic_block:
        # Others can use it meanwhile.
        connection.close()
    if not _turns().acquire(timeout=TURN_SECONDS):
        raise BlocksBusy
    try:
        return _run(order, block, context)
    finally:
        _turns().release()


def _checked(block: Block, inputs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        data = merge(inputs)
        prepare(block, data)
    except BadInput as error:
        raise BlockInputInvalid(str(error), pins=error.pins) from None
    except BadPath as error:
        raise BlockInputInvalid(str(error), pins={}) from None
    return data


def _context(user: User) -> Context:
    zone = "UTC" if user.time_zone == "not-set" else user.time_zone
    return Context(uuid7(), uuid7(), user_id=user.pk, node_id=uuid7(), key=f"block:{uuid7()}", time_zone=zone)


def _run(order: Order, block: Block, context: Context) -> Outputs:
    outputs: Outputs = {}
    size = 0
    deadline = time.monotonic() + _START_SECONDS
    with NodeProcess(order, _server()) as process:
        while True:
            message = _next_message(process, deadline, block, outputs)
            if message[:1] == OUTPUT:
                size += len(message)
                if size > MAX_OUTPUT_BYTES:
                    most = MAX_OUTPUT_BYTES // 2**20
                    raise BlockFailed(f"{block.name}: its outputs take more than {most} MB together", outputs=outputs)
                pin, value = json.decode(message[1:])
                outputs.setdefault(pin, []).append(value)
            elif message[:1] == FILE:
                with suppress(EOFError, OSError):
                    serve(process.inbox, message, context)
            elif message == BEGIN:
                deadline = time.monotonic() + SECONDS
            elif message[:1] == END:
                _check_end(json.decode(message[1:]), block, outputs)
                return outputs


def _next_message(process: NodeProcess, deadline: float, block: Block, outputs: Outputs) -> bytes:
    if not wait([process.inbox], max(0.0, deadline - time.monotonic())):
        raise BlockFailed(f"{block.name}: not done within {SECONDS:g} s", outputs=outputs)
    try:
        return process.inbox.recv_bytes(2 * MAX_OUTPUT_BYTES)
    except (EOFError, OSError):
        raise BlockFailed(f"{block.name}: its process died ({process.death()})", outputs=outputs) from None


def _check_end(end: Mapping[str, Any], block: Block, outputs: Outputs) -> None:
    if "error" in end:
        raise BlockFailed(f"{block.name}: {end['error']}", outputs=outputs)
    if "suspension" in end:
        raise BlockWaits(f"{block.name} waits for something, which only a run can do", block_id=block.id)


@cache
def _turns() -> BoundedSemaphore:
    return BoundedSemaphore(settings.NODE_TASKS)


@cache
def _server() -> ForkServer:
    server = ForkServer()
    atexit.register(server.close)
    return server
