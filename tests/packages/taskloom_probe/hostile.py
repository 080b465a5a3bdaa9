"""Blocks that give whatever may hurt a worker: values that cannot be stored, and behaviour that is no block's."""

import asyncio
import dataclasses
import datetime
import decimal
import enum
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from graphs.blocks.base import (
    AskForReview,
    Block,
    BlockError,
    BlockInput,
    BlockOutput,
    CallGraph,
    Category,
    Context,
    Effect,
    Example,
    Kind,
    Sleep,
)

MILLION = 10**6


def nested(depth: int, container: type = list) -> Any:
    """Containers in containers."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if container is list else {"a": value}
    return value


def itself(container: Any) -> Any:
    """A container that contains itself."""
    if isinstance(container, list):
        container.append(container)
    else:
        container["me"] = container
    return container


class Liar:
    """Raises whenever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise SystemExit

    __str__ = __repr__


class Model(BaseModel):
    """A model that holds what JSON cannot."""

    number: float = float("nan")


class Dumper:
    """Raises when it is asked for its JSON."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def model_dump(self, **_: Any) -> Any:
        """Raise."""
        raise self.error


class Word(str):
    """A text that is equal to nothing and has no hash."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __str__(self) -> str:
        raise RuntimeError("str")


class Mood(enum.Enum):
    """A member is stored as its value."""

    GOOD = "good"


@dataclasses.dataclass
class Point:
    """Is stored as an object."""

    x: float


# What is stored, and as what.
STORABLE: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    name: (make, as_what or make)
    for name, make, as_what in [
        ("a wide integer", lambda: 2**70, None),
        ("4,300 digits", lambda: 10**4299, None),
        ("wide integers inside", lambda: {"a": [10**25, 1.5, None]}, None),
        # Postgres writes all digits of a number.
        ("the largest float", lambda: sys.float_info.max, lambda: 17976931348623157 * 10**292),
        ("depth 250", lambda: nested(250), None),
        ("objects to depth 250", lambda: nested(250, dict), None),
        ("10 MB of text", lambda: "x" * 10 * MILLION, None),
        ("text that grows when it is escaped", lambda: "\x01" * MILLION, None),
        ("a million numbers", lambda: list(range(MILLION)), None),
        ("a million nulls", lambda: [None] * MILLION, None),
        ("many keys", lambda: {str(number): number for number in range(200_000)}, None),
        ("a key of 1 MB", lambda: {"k" * MILLION: 1}, None),
        ("keys that normalise alike", lambda: {"é": 1, "e\u0301": 2, "": 3}, None),
        ("odd characters", lambda: "\ufffe\uffff\U0010ffff\u202e\x7f\x1b[2J", None),
        ("an escaped escape", lambda: "\\u0000 \\ud800 \\", None),
        ("keys with a meaning elsewhere", lambda: {"__proto__": {"x": 1}, "__class__": 2, "$ref": "#"}, None),
        ("true as a key", lambda: {True: 1}, lambda: {"true": 1}),
        ("numbers as keys", lambda: {1: 1, 1.5: 2, None: 3}, lambda: {"1": 1, "1.5": 2, "null": 3}),
        ("a set", lambda: {7}, lambda: [7]),
        ("a tuple", lambda: (1, (2,)), lambda: [1, [2]]),
        ("a date", lambda: datetime.date(2026, 2, 28), lambda: "2026-02-28"),
        ("a UUID", lambda: uuid.UUID(int=1), lambda: str(uuid.UUID(int=1))),
        ("an enum", lambda: Mood.GOOD, lambda: "good"),
        ("a dataclass", lambda: Point(1.5), lambda: {"x": 1.5}),
        ("a text of a kind of its own", lambda: Word("word"), lambda: "word"),
    ]
}

# What is refused, and what the message must say.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a NUL character": (lambda: "a\0b", "NUL"),
    "a NUL character in a key": (lambda: [{"a\0b": 1}], "NUL"),
    "a lone surrogate": (lambda: "\ud800", "surrogate"),
    "a lone surrogate in a key": (lambda: {"\udfff": 1}, "surrogate"),
    "NaN": (lambda: float("nan"), "NaN"),
    "infinity": (lambda: [float("inf")], "infinities"),
    "NaN deep inside": (lambda: {"a": [{"b": (1, {2: float("nan")})}]}, "NaN"),
    "NaN as a key": (lambda: {float("nan"): 1}, "NaN"),
    "NaN beside a wide integer": (lambda: [2**70, float("nan")], "float values"),
    "NaN in a model": (Model, "NaN"),
    "NaN in a dataclass": (lambda: Point(float("nan")), "NaN"),
    "10,000 digits": (lambda: 10**10_000, "4300 digits"),
    "depth 255": (lambda: nested(255), "Recursion|deep"),
    "depth 255 with a wide integer": (lambda: [2**70, nested(255)], "Recursion|deep"),
    "depth a million": (lambda: nested(MILLION), "Recursion|deep"),
    "objects to depth a million": (lambda: nested(MILLION, dict), "Recursion|deep"),
    "100 MB of text": (lambda: "x" * 100 * MILLION, r"100,000,0\d\d bytes as JSON, more than the 67,108,864"),
    "keys that are one as text": (lambda: {1: 1, "1": 2}, "the same text"),
    "bytes": (lambda: b"x", "bytes"),
    "an object": (lambda: object(), "object"),
    "a class": (lambda: int, "type"),
    "a generator": (lambda: (number for number in range(3)), "generator"),
    "a decimal": (lambda: decimal.Decimal(1), "Decimal"),
    "a complex number": (lambda: 1j, "complex"),
    "a list in itself": (lambda: itself([]), "Recursion|deep|ircular"),
    "an object in itself": (lambda: itself({}), "Recursion|deep|ircular"),
    "what raises when asked for its JSON": (lambda: Dumper(RuntimeError), "Dumper"),
    "what ends the process when asked for its JSON": (lambda: Dumper(SystemExit), "Dumper"),
    "what raises whatever it is asked": (Liar, "Liar"),
}


def raising(error: Callable[[], BaseException]) -> Callable[[], Any]:
    """A generator that raises after its first output."""

    def run() -> Iterator[Any]:
        yield "value", 1
        raise error()

    return run


def yielding(*emissions: Any) -> Callable[[], Any]:
    """A generator of anything."""
    return lambda: iter(emissions)


def giving(make: Callable[[], Any]) -> Iterator[Any]:
    """One value, made when it is wanted."""
    yield "value", make()


def deeper(depth: int = 0) -> int:
    """Never comes back."""
    return deeper(depth + 1) + 1


def endless() -> Iterator[Any]:
    """Recurses for ever."""
    yield "value", deeper()


def stubborn() -> Iterator[Any]:
    """Goes on after it was told to end."""
    try:
        yield "nowhere", 1
    finally:
        yield "value", 2


async def deaf() -> AsyncIterator[Any]:
    """Does not end when it is told to, and gives something much later."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)
    yield "value", "late"


async def waiting() -> None:
    """Returns nothing, later."""


class Silent(Exception):
    """An error that does not say what it is."""

    def __str__(self) -> str:
        raise SystemExit("no")


def call(**changes: Any) -> Any:
    """A call of a graph that is not there, with something in it that cannot be."""
    return CallGraph(**{"graph_id": uuid.UUID(int=1), "graph_version": 1, "inputs": {}, **changes})


# What blocks do that they should not, and what the message must say.
BEHAVIOUR: dict[str, tuple[Callable[[], Any], str]] = {
    "yields nothing": (yielding(None), "not NoneType"),
    "yields a number": (yielding(5), "not int"),
    "yields a text": (yielding("ab"), "not str"),
    "yields one": (yielding(("value",)), "pairs"),
    "yields three": (yielding(("value", 1, 2)), "pairs"),
    "yields an object": (yielding({"value": 1}), "not dict"),
    "yields what cannot be looked at": (yielding(Liar()), "Liar|RuntimeError"),
    "yields to an output it lacks": (yielding(("nowhere", 1)), "no output 'nowhere'"),
    "yields to an output with a NUL": (yielding(("a\0", 1)), "NUL|no output"),
    "yields to an output of 1 MB": (yielding(("x" * MILLION, 1)), "1,000,000 characters"),
    "yields to an output without a hash": (yielding((Word("value"), Liar())), "Liar"),
    "yields to an output that is no text": (yielding((1, 1)), "pairs"),
    "yields an error that is no text": (yielding(("error", Liar())), "Liar"),
    "yields an error with a NUL": (yielding(("error", "a\0b\ud800")), r"^ab\?$"),
    "yields an error of 100 MB": (yielding(("error", "x" * 100 * MILLION)), "^x{10000}$"),
    "raises an error that is silent": (raising(Silent), "Silent"),
    "raises an error of 10 MB": (raising(lambda: ValueError("y" * 10 * MILLION)), "^ValueError: y{9988}$"),
    "raises an error with a NUL": (raising(lambda: BlockError("\0\ud800")), r"^\?$"),
    "raises SystemExit": (raising(lambda: SystemExit(3)), "SystemExit"),
    "raises KeyboardInterrupt": (raising(KeyboardInterrupt), "KeyboardInterrupt"),
    "raises GeneratorExit": (raising(GeneratorExit), "GeneratorExit"),
    "raises CancelledError": (raising(asyncio.CancelledError), "CancelledError"),
    "raises TimeoutError": (raising(TimeoutError), "TimeoutError"),
    "raises BaseException": (raising(BaseException), "BaseException"),
    "raises StopIteration": (raising(StopIteration), "StopIteration"),
    "raises StopAsyncIteration": (raising(StopAsyncIteration), "StopAsyncIteration"),
    "raises MemoryError": (raising(MemoryError), "MemoryError"),
    "raises a group": (raising(lambda: BaseExceptionGroup("two", [SystemExit(), ValueError()])), "two"),
    "recurses for ever": (endless, "RecursionError"),
    "goes on after its end": (stubborn, "no output 'nowhere'"),
    "returns nothing": (lambda: None, "returned NoneType"),
    "returns a list": (lambda: [("value", 1)], "returned list"),
    "returns a coroutine": (waiting, "returned coroutine"),
    "raises at once": (lambda: deeper(), "RecursionError"),
    "sleeps NaN seconds": (yielding(Sleep(float("nan"))), "not nan"),
    "sleeps for ever": (yielding(Sleep(float("inf"))), "not inf"),
    "sleeps 10,000 years": (yielding(Sleep(3e11)), "316,224,000"),
    "sleeps a text": (yielding(Sleep("long")), "not long"),  # type: ignore[arg-type]
    "calls a graph without an id": (yielding(call(graph_id="x")), "not x"),
    "calls a graph that is not there": (yielding(call()), "graph"),
    "calls a version that cannot be": (yielding(call(graph_version=10**30)), "version"),
    "calls with what are no inputs": (yielding(call(inputs=5)), "inputs"),
    "calls with inputs that cannot be stored": (yielding(call(inputs={"x": object()})), "object"),
    "calls with masks that are none": (yielding(call(nodes_input_masks={"x": 5})), "mask"),
    "asks about what cannot be stored": (yielding(AskForReview(Liar(), "look")), "Liar|RuntimeError"),
}


def cases() -> dict[str, Callable[[], Any]]:
    """What a block may be told to do, by name."""
    values = {name: make for name, (make, _) in [*STORABLE.items(), *REFUSED.items()]}
    return {
        **{f"gives {name}": partial(giving, make) for name, make in values.items()},
        **{name: run for name, (run, _) in BEHAVIOUR.items()},
        "gives many": lambda: (("value", number) for number in range(100_000)),
        "gives nothing": lambda: iter(()),
        "would not end": deaf,
    }


class Case(BlockInput):
    """What to do, by name."""

    case: str = "gives nothing"
    value: Any = None
    name: str = ""


class Anything(BlockOutput):
    """Whatever comes of it."""

    value: Any = None


class Hostile(Block):
    """Common to these; not a block itself."""

    description = "Does what no block should."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    examples = (Example({}, ()),)
    Input = Case
    Output = Anything

    def run(self, input: Case, context: Context) -> Any:
        """Do it."""
        return cases()[input.case]()


class HostilePure(Hostile):
    """In place."""

    id = "01980000-0000-7000-8000-000000000101"
    effect = Effect.PURE


class HostileThread(Hostile):
    """In a thread."""

    id = "01980000-0000-7000-8000-000000000102"
    effect = Effect.READ


class HostileTask(Hostile):
    """As a task."""

    id = "01980000-0000-7000-8000-000000000103"
    effect = Effect.READ

    def run(self, input: Case, context: Context) -> Any:
        """Do it, asynchronously if it can be."""
        emissions = cases()[input.case]()
        return self._forward(emissions) if isinstance(emissions, Iterator) else emissions

    async def _forward(self, emissions: Iterator[Any]) -> AsyncIterator[Any]:
        for emission in emissions:
            yield emission


class HostileNames(Hostile):
    """Names its outputs as it likes."""

    id = "01980000-0000-7000-8000-000000000104"
    effect = Effect.PURE
    kind = Kind.AI

    def run(self, input: Case, context: Context) -> Any:
        """Yield a value to an output that is named by another."""
        make = {**STORABLE, **REFUSED}[input.case][0]
        yield make(), 1


class Bulk(BlockInput):
    """How many texts to give, and how long; the file in which each leaves a mark."""

    times: int = 0
    bytes: int = 0
    log: str = ""


class ProbeLarge(Block):
    """In a thread."""

    id = "01980000-0000-7000-8000-000000000105"
    description = "Gives large values, one after the other."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    effect = Effect.READ
    examples = (Example({}, ()),)
    Input = Bulk
    Output = Anything

    def run(self, input: Bulk, context: Context) -> Iterator[Any]:
        """Give them."""
        for number in range(input.times):
            with Path(input.log).open("a") as log:
                log.write(".")
            yield "value", f"{number:09}" + "x" * input.bytes
