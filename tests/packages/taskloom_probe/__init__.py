"""Blocks that tests run, installed the way any third-party package is: they log turns, wait, stream and fail."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from graphs.blocks.base import (
    AsyncEmissions,
    Block,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    CredentialsPlaceholder,
    Effect,
    Emissions,
    Example,
    Sleep,
    TryLater,
    Used,
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
    later: float = 0.0

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


async def _at_least(seconds: float) -> None:
    """Sleep no shorter: the engine's event loop counts in whole milliseconds, and may wake one early."""
    until = time.monotonic() + seconds
    await asyncio.sleep(seconds)
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(left)


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
            await _at_least(input.seconds)
            yield "value", input.value
        if input.fails(context) and input.later:
            raise TryLater(input.fail, input.later)
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


class Fate(Turn):
    """How a turn in a process of its own goes on after its emissions."""

    ends: str = ""

    def note(self, context: Context) -> None:
        """Write this turn's key down, and the process in which it is."""
        if self.log:
            with Path(self.log).open("a") as log:
                log.write(f"{context.key} {context.attempt} {os.getpid()}\n")


class ProbeApart(Probe):
    """Runs in a process of its own."""

    id = "01980000-0000-7000-8000-000000000006"
    effect = Effect.KEYED
    isolated = True
    Input = Fate

    def run(self, input: Fate, context: Context) -> Emissions:
        """Emit once the file `hold` is gone, then end: by `exit`, `kill`, `memory`, `loop`, `sleep`, or well."""
        if context.answers:
            yield "value", f"{input.value} after {len(context.answers)}"
            return
        input.note(context)
        while input.hold and Path(input.hold).exists():
            time.sleep(0.01)
        for _ in range(input.times):
            time.sleep(input.seconds)
            yield "value", input.value
        if input.ends == "exit":
            os._exit(3)
        elif input.ends == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif input.ends == "memory":
            yield "value", "x" * 10**12
        elif input.ends == "sleep":
            yield Sleep(0.1)
        while input.ends == "loop":
            pass
        if input.fails(context):
            raise RuntimeError(input.fail)


class Count(Fate):
    """How far to count, and after which number to wait until `hold` is gone."""

    pauses_after: int = -1


class ProbeCountApart(Probe):
    """Counts in a process of its own."""

    id = "01980000-0000-7000-8000-00000000001a"
    effect = Effect.KEYED
    isolated = True
    Input = Count

    def run(self, input: Count, context: Context) -> Emissions:
        """Emit 1, 2, 3 … and so on."""
        input.note(context)
        for number in range(1, input.times + 1):
            yield "value", number
            time.sleep(input.seconds)
            while number == input.pauses_after and Path(input.hold).exists():
                time.sleep(0.01)
        if input.fails(context):
            raise TryLater(input.fail, input.later) if input.later else RuntimeError(input.fail)


class ProbeCountApartUnsafe(ProbeCountApart):
    """Counts in a process of its own, and must not be repeated."""

    id = "01980000-0000-7000-8000-00000000001b"
    effect = Effect.UNSAFE


class ProbeCountApartVerifiable(ProbeCountApart):
    """Counts in a process of its own, and always has."""

    id = "01980000-0000-7000-8000-00000000001c"
    effect = Effect.VERIFIABLE

    async def was_done(self, input: Count, context: Context) -> Any:
        """It was done, and this is what it gives."""
        return [("value", number) for number in range(1, input.times + 1)]


class ProbeApartUnsafe(ProbeApart):
    """Runs in a process of its own, and must not be repeated."""

    id = "01980000-0000-7000-8000-000000000007"
    effect = Effect.UNSAFE


class ProbeVerifiable(ProbeRead):
    """Runs as a task, and can tell whether it had its effect: the log names the key, followed by `done`."""

    id = "01980000-0000-7000-8000-000000000008"
    effect = Effect.VERIFIABLE

    async def was_done(self, input: Turn, context: Context) -> Any:
        """Whether the log says so; with `fail` it cannot tell."""
        if input.fail:
            raise RuntimeError(input.fail)
        return [("value", input.value)] if f"{context.key} done" in Path(input.log).read_text() else False


class ProbeApartVerifiable(ProbeApart):
    """Runs in a process of its own, and can tell whether it had its effect."""

    id = "01980000-0000-7000-8000-000000000009"
    effect = Effect.VERIFIABLE

    was_done = ProbeVerifiable.was_done


class Letter(BlockInput):
    """A text to send with somebody's credentials."""

    credentials: CredentialsPlaceholder = Field(
        json_schema_extra={"credentials_provider": ["post"], "credentials_types": ["api_key"]}
    )
    text: str
    log: str = ""


class Sent(BlockOutput):
    """What was sent."""

    sent: str


class ProbeMail(Block):
    """Needs credentials, and writes down what it sends."""

    id = "01980000-0000-7000-8000-00000000000a"
    description = "Sends a text, or says that it did."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    effect = Effect.KEYED
    examples = (
        Example({"credentials": {"id": "c1", "provider": "post", "type": "api_key"}, "text": "hi"}, (("sent", "hi"),)),
    )
    Input = Letter
    Output = Sent

    def run(self, input: Letter, context: Context) -> Emissions:
        """Write the text down."""
        if input.log:
            Path(input.log).write_text(input.text)
        yield "sent", input.text


class Talk(BlockInput):
    """How much a turn of a model takes, and how many seconds to wait between two of them."""

    tokens: list[int] = []
    pause: float = 0.0


class ProbeTokens(Block):
    """Says what it has used."""

    id = "01980000-0000-7000-8000-000000000018"
    description = "Uses tokens, and says how many."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    effect = Effect.READ
    Input = Talk
    Output = Echo
    examples = (Example({"tokens": [1, 2]}, (("value", 3),)),)

    def run(self, input: Talk, context: Context) -> Emissions:
        """Use tokens, then tell how many; with a pause, use them once more before that."""
        for tokens in input.tokens:
            yield Used(tokens)
        if input.pause and not context.answers:
            yield "value", "so far"
            yield Sleep(input.pause)
        yield "value", sum(input.tokens)


class ProbeTokensApart(ProbeTokens):
    """Says so in a process of its own."""

    id = "01980000-0000-7000-8000-000000000019"
    isolated = True
