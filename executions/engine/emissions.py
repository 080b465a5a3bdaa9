"""What a block yields taken apart, and what it raises explained. Pure."""

from typing import Any

from core.errors import DomainError
from graphs.blocks.base import BlockError

MAX_ERROR = 10_000


def pair(emission: Any) -> tuple[str, Any]:
    """The emission as (pin, value); raises `BlockError` when it is none, or when the block says it failed."""
    match emission:
        case ("error", message):
            raise BlockError(str(message))
        case (str(pin), value):
            return pin, value
        case _:
            raise BlockError(f"Blocks yield (pin, value) pairs, not {emission!r:.80}")


def explain(error: BaseException) -> str:
    """The message for the `error` pin: short enough to store, and storable."""
    known = isinstance(error, (BlockError, DomainError)) and str(error)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    return text[:MAX_ERROR].replace("\0", "").encode("utf-8", "replace").decode()
