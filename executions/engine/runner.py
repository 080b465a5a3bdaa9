"""Running a block beside the driver: its emissions become messages, at a pace the driver can follow."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from pydantic import BaseModel

from core import json
from executions.engine.crossing import suspension_from_json
from executions.engine.state import Activation
from executions.engine.waits import Wait
from executions.failpoints import failpoint
from executions.node_tasks import Ending
from graphs.blocks.base import BlockError, Context, Emission, Suspension


@dataclass(frozen=True, slots=True)
class Emitted:
    """A block yielded something. A thread that was given up may still do so: its `attempt` is over."""

    activation: Activation
    emission: Emission
    attempt: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A block returned, raised `error`, or wants to wait for `suspension`.

    With `is_unknown`, nobody knows whether it had its effect; `error` says why.
    """

    activation: Activation
    error: BaseException | None = None
    suspension: Suspension | None = None
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """What a block asked for was asked, and its activation waits from now on."""

    activation: Activation
    wait: Wait


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that the driver needs does not work."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Poked:
    """Something happened to the run from outside."""


Message = Emitted | Ended | Called | Broken | Poked


class Mailbox:
    """Messages to one driver. A block may run ahead by a few emissions; then it waits until the driver has room."""

    def __init__(self, credit: int = 64) -> None:
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._credit = asyncio.Semaphore(credit)
        self.blocked = 0

    def put(self, message: Message) -> None:
        """Add a message that never has to wait."""
        self._queue.put_nowait(message)

    async def put_emission(self, message: Emitted) -> None:
        """Add an emission once there is room for it."""
        self.blocked += 1
        try:
            await self._credit.acquire()
        finally:
            self.blocked -= 1
        self._queue.put_nowait(message)

    @property
    def has_mail(self) -> bool:
        """Whether there are messages that nobody has taken."""
        return not self._queue.empty()

    def give_room(self, emissions: int) -> None:
        """As many emissions were taken up: others may follow."""
        for _ in range(emissions):
            self._credit.release()

    async def take(self, timeout: float | None) -> list[Message]:
        """All messages there are, waiting up to `timeout` seconds for the first."""
        try:
            async with asyncio.timeout(timeout):
                messages = [await self._queue.get()]
        except TimeoutError:
            return []
        while not self._queue.empty():
            messages.append(self._queue.get_nowait())
        return messages


async def run_block(
    activation: Activation, block_input: BaseModel, context: Context, mailbox: Mailbox, threads: Executor
) -> None:
    """Run the activation's block until it ends, wants to wait, or its time is up; plain generators get a thread."""
    error: BaseException | None = None
    suspension: Suspension | None = None
    seconds = activation.node.policy.timeout_seconds
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            failpoint("effect.before")
            emissions = activation.node.block.run(block_input, context)
            if isinstance(emissions, AsyncIterator):
                suspension = await _forward(emissions, activation, mailbox)
            else:
                loop = asyncio.get_running_loop()
                suspension = await loop.run_in_executor(threads, _forward_sync, emissions, activation, mailbox, loop)
            failpoint("effect.after")
    # A block is foreign code: whatever it raises is its node's failure, not the worker's.
    except Exception as problem:
        error = BlockError(f"Not done within {seconds:g} s") if limit.expired() else problem
    mailbox.put(Ended(activation, error, suspension))


async def hand_over(activation: Activation, ending: Ending, mailbox: Mailbox) -> None:
    """Tell what a block gave that ran in a process of its own, and how it ended."""
    for pin, value in json.decode(ending.outputs):
        await mailbox.put_emission(Emitted(activation, (pin, value), activation.attempt))
    mailbox.put(
        Ended(
            activation,
            BlockError(ending.error) if ending.error else None,
            None if ending.suspension is None else suspension_from_json(ending.suspension),
            is_unknown=ending.is_lost,
        )
    )


async def was_done(activation: Activation, block_input: BaseModel, context: Context, mailbox: Mailbox) -> bool:
    """Whether a block that nobody knows the outcome of had its effect; if it had, or nobody can tell, that is told."""
    try:
        async with asyncio.timeout(activation.node.policy.timeout_seconds):
            done = await activation.node.block.was_done(block_input, context)
    # A block is foreign code: whatever it raises, it cannot tell.
    except Exception as problem:
        mailbox.put(Ended(activation, problem, is_unknown=True))
        return True
    if done is False:
        return False
    for emission in () if done is True else done:
        await mailbox.put_emission(Emitted(activation, emission, activation.attempt))
    mailbox.put(Ended(activation))
    return True


async def _forward(
    emissions: AsyncIterator[Emission | Suspension], activation: Activation, mailbox: Mailbox
) -> Suspension | None:
    async for emission in emissions:
        if isinstance(emission, Suspension):
            return emission
        await mailbox.put_emission(Emitted(activation, emission, activation.attempt))
    return None


def _forward_sync(
    emissions: Iterator[Emission | Suspension],
    activation: Activation,
    mailbox: Mailbox,
    loop: asyncio.AbstractEventLoop,
) -> Suspension | None:
    attempt = activation.attempt
    for emission in emissions:
        if isinstance(emission, Suspension):
            return emission
        asyncio.run_coroutine_threadsafe(mailbox.put_emission(Emitted(activation, emission, attempt)), loop).result()
    return None
