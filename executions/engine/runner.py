"""Running a block beside the driver: its emissions become messages, at a pace the driver can follow."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import suppress
from typing import cast

from pydantic import BaseModel

from executions.engine.emissions import end, stream_of, suspension_of
from executions.engine.mailbox import Emitted, Ended, Mailbox
from executions.engine.state import Activation
from executions.failpoints import failpoint
from graphs.blocks.base import BlockError, Context, Emission, Suspension, Used

# How long a block may take to end once it is told to; then it is left to itself.
LAST_SECONDS = 1.0


async def run_block(
    activation: Activation, block_input: BaseModel, context: Context, mailbox: Mailbox, threads: Executor
) -> None:
    """Run the activation's block until it ends, wants to wait, or its time is up; plain generators get a thread."""
    error: BaseException | None = None
    suspension: Suspension | None = None
    seconds = activation.node.policy.timeout_seconds
    limit = asyncio.timeout(seconds)
    late = BlockError("" if seconds is None else f"Not done within {seconds:g} s")
    is_left = False

    def leave() -> None:
        nonlocal is_left
        is_left = True
        mailbox.put(Ended(activation, late))

    patience = None if seconds is None else asyncio.get_running_loop().call_later(seconds + LAST_SECONDS, leave)
    began = time.monotonic()
    try:
        async with limit:
            failpoint("effect.before")
            block = activation.node.block
            emissions = stream_of(block, block.run(block_input, context))
            if isinstance(emissions, AsyncIterator):
                suspension = await _forward(emissions, activation, mailbox)
            else:
                suspension = await _forward_in_thread(emissions, activation, mailbox, threads)
            failpoint("effect.after")
    # A block is foreign code: whatever it raises, even to end the process or a task, is its node's failure.
    except BaseException as problem:
        if _is_cancelled():
            raise
        error = late if limit.expired() else problem
    finally:
        if patience is not None:
            patience.cancel()
    if not is_left:
        activation.seconds += time.monotonic() - began
        mailbox.put(Ended(activation, error, suspension))


async def was_done(activation: Activation, block_input: BaseModel, context: Context, mailbox: Mailbox) -> bool:
    """Whether a block that nobody knows the outcome of had its effect; if it had, or nobody can tell, that is told."""
    try:
        async with asyncio.timeout(activation.node.policy.timeout_seconds):
            done = await activation.node.block.was_done(block_input, context)
        given = [] if isinstance(done, bool) else list(done)
    # A block is foreign code: whatever it raises, it cannot tell.
    except BaseException as problem:
        if _is_cancelled():
            raise
        mailbox.put(Ended(activation, problem, is_unknown=True))
        return True
    if done is False:
        return False
    for emission in given:
        await mailbox.put_emission(Emitted(activation, emission, activation.attempt))
    mailbox.put(Ended(activation))
    return True


def _is_cancelled() -> bool:
    """Whether the driver gave this task up, and not the block itself raised what ends tasks."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True  # the loop is closed: nobody is left to listen
    return task is not None and task.cancelling() > 0


async def _forward(
    emissions: AsyncIterator[Emission | Suspension | Used], activation: Activation, mailbox: Mailbox
) -> Suspension | None:
    async for emission in emissions:
        if _is_cancelled():
            break
        suspension = suspension_of(emission)
        if suspension is not None:
            return suspension
        await mailbox.put_emission(Emitted(activation, cast(Emission | Used, emission), activation.attempt))
    return None


async def _forward_in_thread(
    emissions: Iterator[Emission | Suspension | Used], activation: Activation, mailbox: Mailbox, threads: Executor
) -> Suspension | None:
    loop = asyncio.get_running_loop()
    ear = _Ear(activation, mailbox, loop)
    try:
        return await loop.run_in_executor(threads, _forward_sync, emissions, ear)
    finally:
        ear.close()


class _Ear:
    """Hears what a plain generator gives in its thread. Once it is closed the thread must wait for nothing more."""

    def __init__(self, activation: Activation, mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
        self._activation = activation
        self._attempt = activation.attempt
        self._mailbox = mailbox
        self._loop = loop
        self._hearing: asyncio.Task[None] | None = None
        self._is_closed = False

    def hear(self, emission: Emission | Used) -> bool:
        """Pass an emission on once there is room for it; false when nobody listens. Called from the thread."""
        if not self._is_closed:
            with suppress(CancelledError):
                asyncio.run_coroutine_threadsafe(self._put(emission), self._loop).result()
        return not self._is_closed

    def close(self) -> None:
        """Listen no more. Called from the loop."""
        self._is_closed = True
        if self._hearing is not None:
            self._hearing.cancel()

    async def _put(self, emission: Emission | Used) -> None:
        if not self._is_closed:
            self._hearing = asyncio.current_task()
            await self._mailbox.put_emission(Emitted(self._activation, emission, self._attempt))
            self._hearing = None


def _forward_sync(emissions: Iterator[Emission | Suspension | Used], ear: _Ear) -> Suspension | None:
    try:
        for emission in emissions:
            suspension = suspension_of(emission)
            if suspension is not None:
                return suspension
            if not ear.hear(cast(Emission | Used, emission)):
                break
        return None
    finally:
        end(emissions)
