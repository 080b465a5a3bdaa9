"""JSON as it is stored: encoded once, refused early.

Postgres `jsonb` cannot hold NUL characters, lone surrogates, NaN or infinities. `encode` refuses them with a
message that names the cause, so that a hostile value never reaches a transaction.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import orjson

from core.errors import Invalid

MAX_DEPTH = 200
_OPTIONS = orjson.OPT_NON_STR_KEYS


class NotStorable(Invalid):
    """The value cannot be stored as JSON."""


def encode(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON that Postgres accepts.

    Raises `NotStorable` for NUL characters, lone surrogates, NaN, infinities, integers of more than 4,300 digits,
    nesting deeper than orjson's limit and types that JSON does not know.
    """
    try:
        encoded = orjson.dumps(value, default=_default, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        encoded = _encode_wide_integers(value, error)
    # orjson writes NaN as null and NUL as \\u0000: only texts with either need the slow look.
    if b"\\u0000" in encoded or b"null" in encoded:
        _check(value)
    return encoded


def decode(data: bytes | str) -> Any:
    """Parse JSON text; raises `Invalid` with the position when it is malformed."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"Malformed JSON: {error}") from None


def _default(value: Any) -> Any:
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _encode_wide_integers(value: Any, error: Exception) -> bytes:
    if "64-bit" not in str(error):
        raise NotStorable(f"The value cannot be stored as JSON: {error}") from None
    try:
        return json.dumps(value, default=_default, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise NotStorable(f"The value cannot be stored as JSON: {problem}") from None


def _check(value: Any) -> None:
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            if "\0" in item:
                raise NotStorable("Text with a NUL character cannot be stored")
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise NotStorable(f"{item} is not a JSON number")
        elif depth > MAX_DEPTH:
            raise NotStorable(f"The value is nested deeper than {MAX_DEPTH} levels")
        else:
            pending.extend((inner, depth + 1) for inner in _inside(item))


def _inside(value: Any) -> Iterable[Any]:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, (list, tuple, set, frozenset)) else ()
