"""What a block yields taken apart, and what it raises explained. Pure.

A block is foreign code, and so are the objects that it yields: looking at one may raise anything.
"""

import inspect
import math
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from core import json
from core.errors import DomainError
from graphs.blocks.base import AskForReview, Block, BlockError, CallGraph, Sleep, Suspension, TryLater

MAX_ERROR = 10_000
MAX_PIN = 1000
# Ten years, in seconds.
MAX_SLEEP = 10 * 366 * 24 * 3600
_MAX_VERSION = 2**31 - 1


def stream_of(block: Block, emissions: Any) -> Iterator[Any] | AsyncIterator[Any]:
    """What the block's `run` returned; raises `BlockError` when nothing can be asked of it one after the other."""
    if isinstance(emissions, (Iterator, AsyncIterator)):
        return emissions
    if inspect.iscoroutine(emissions):
        emissions.close()
    raise BlockError(f"The run of {block.name} must yield (pin, value) pairs; it returned {type(emissions).__name__}")


def end(emissions: Iterator[Any]) -> None:
    """Let a block that is asked for nothing more end now, and not whenever memory is looked through."""
    # What it does then is of no account: it may raise anything, even what ends the process, or try to go on.
    with suppress(BaseException):
        if isinstance(emissions, Generator):
            emissions.close()


def suspension_of(emission: object) -> Suspension | None:
    """What the block wants to wait for, as plain data, or None if the emission is none of these.

    Raises `BlockError` or `NotStorable` when it cannot be waited for.
    """
    # Nearly always.
    if type(emission) is tuple:
        return None
    match emission:
        case Sleep():
            return Sleep(_seconds(emission.seconds))
        case CallGraph():
            return _call(emission)
        case AskForReview():
            return AskForReview(_as_stored(emission.data), _storable(emission.instructions), bool(emission.editable))
        case _:
            return None


def pair(emission: Any) -> tuple[str, Any]:
    """The emission as (pin, value); raises `BlockError` when it is none, or when the block says it failed."""
    match emission:
        case (str(pin), value):
            name = _name(pin)
            if name == "error":
                raise BlockError(text_of(value))
            return name, value
        case _:
            raise BlockError(f"Blocks yield (pin, value) pairs, not {type(emission).__name__}")


def explain(error: BaseException) -> str:
    """The message for the `error` pin: short enough to store, and storable."""
    text = text_of(error)
    known = isinstance(error, (BlockError, DomainError)) and text
    return text if known else _storable(f"{type(error).__name__}: {text}")


def text_of(thing: Any) -> str:
    """What `thing` says of itself: short enough to store, and storable."""
    try:
        return _storable(str(thing))
    # Whatever it raises, even to end the process.
    except BaseException:
        return f"a {_storable(type(thing).__name__)} that does not say what it is"


def seconds_of(error: TryLater) -> float:
    """In how many seconds the block asks to be tried again; 0 for what is no such number."""
    seconds: Any = error.seconds
    return min(float(seconds), MAX_SLEEP) if isinstance(seconds, (int, float)) and seconds > 0 else 0.0


def _storable(text: str) -> str:
    return str.__getitem__(text, slice(MAX_ERROR)).replace("\0", "").encode("utf-8", "replace").decode()


def _name(pin: str) -> str:
    name = str.__str__(pin)
    if len(name) > MAX_PIN:
        raise BlockError(f"The name of an output has {len(name):,} characters, more than {MAX_PIN:,}: '{name[:80]}…'")
    if not name.isascii() or "\0" in name:
        json.encode(name)
    return name


def _seconds(seconds: Any) -> float:
    if isinstance(seconds, (int, float)) and -math.inf < seconds <= MAX_SLEEP:
        return max(0.0, float(seconds))
    raise BlockError(f"Sleep takes a number of seconds up to {MAX_SLEEP:,}, not {text_of(seconds)[:80]}")


def _call(call: CallGraph) -> CallGraph:
    if not isinstance(call.graph_id, UUID):
        raise BlockError(f"CallGraph takes the UUID of a graph, not {text_of(call.graph_id)[:80]}")
    version: Any = call.graph_version
    if not isinstance(version, int) or not 0 <= version <= _MAX_VERSION:
        raise BlockError(f"CallGraph takes the number of a version, not {text_of(version)[:80]}")
    inputs: Any = _as_stored(call.inputs)
    masks: Any = _as_stored(call.nodes_input_masks)
    if not isinstance(inputs, dict) or not isinstance(masks, dict):
        raise BlockError("CallGraph takes inputs and nodes_input_masks by name")
    if not all(isinstance(mask, dict) for mask in masks.values()):
        raise BlockError("CallGraph takes the input mask of each node by pin")
    return CallGraph(call.graph_id, version, inputs, masks)


def _as_stored(value: Any) -> Any:
    return json.decode(json.encode(dict(value) if isinstance(value, Mapping) else value))
