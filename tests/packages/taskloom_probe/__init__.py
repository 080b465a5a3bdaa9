"""Blocks that tests run, installed the way any third-party package is: they log turns, wait, stream and fail."""

import asyncio
import time
from pathlib import Path
from typing import Any

from graphs.blocks.base import (
    AsyncEmissions,
    Block,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Emissions,
    Example,
)


class Turn(BlockInput):
    """What to emit, how often and how slowly, and the file to log each turn in."""

    value: Any = None
    times: int = 1
    seconds: float = 0.0
    log: str = ""
    hold: str = ""
    fail: str = ""
    recovers: bool = False

    def fails(self, context: Context) -> bool:
        """Whether this attempt is to fail after its emissions: each, or the first of one that recovers."""
        return bool(self.fail) and not (self.recovers and context.attempt > 1)

    def note(self, context: Context) -> None:
        """Write this turn's key down, where a test in another process can count it."""
        if self.log:
            with Path(self.log).open("a") as log:
                log.write(f"{context.key} {context.attempt}\n")


class Echo(BlockOutput):
    """What was asked for."""

    value: Any = None


class Probe(Block):
    """Common to the probes; not a block itself."""

    description = "Emits a value as often, as slowly and as long as a test wants."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    examples = (Example({"value": 1, "times": 2}, (("value", 1), ("value", 1))),)
    Input = Turn
    Output = Echo


class ProbePure(Probe):
    """Runs in place."""

    id = "01980000-0000-7000-8000-000000000001"
    effect = Effect.PURE

    def run(self, input: Turn, context: Context) -> Emissions:
        """Emit at once."""
        input.note(context)
        for _ in range(input.times):
            if input.seconds:
                time.sleep(input.seconds)
            yield "value", input.value
        if input.fails(context):
            raise RuntimeError(input.fail)


class ProbeRead(Probe):
    """Runs as a task."""

    id = "01980000-0000-7000-8000-000000000002"
    effect = Effect.READ

    async def run(self, input: Turn, context: Context) -> AsyncEmissions:
        """Emit after each pause, and not before the file `hold` is gone."""
        input.note(context)
        while input.hold and Path(input.hold).exists():
            await asyncio.sleep(0.01)
        for _ in range(input.times):
            await asyncio.sleep(input.seconds)
            yield "value", input.value
        if input.fails(context):
            raise RuntimeError(input.fail)


class ProbeKeyed(ProbeRead):
    """Runs as a task, and may be repeated with the same key."""

    id = "01980000-0000-7000-8000-000000000003"
    effect = Effect.KEYED


class ProbeUnsafe(ProbeRead):
    """Runs as a task, and must not be repeated."""

    id = "01980000-0000-7000-8000-000000000004"
    effect = Effect.UNSAFE


class ProbeThread(Probe):
    """Runs in a thread."""

    id = "01980000-0000-7000-8000-000000000005"
    effect = Effect.READ

    run = ProbePure.run
