"""JSON as it is stored: encoded once, refused early.

Postgres `jsonb` cannot hold NUL characters, lone surrogates, NaN or infinities. `encode` refuses them with a
message that names the cause, so that a hostile value never reaches a transaction.
"""

import dataclasses
import json
import re
from typing import Any

import orjson

from core.errors import Invalid

# As deep as orjson goes.
MAX_DEPTH = 254
# An escaped NUL, not an escaped backslash before a u.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
# Integers of fewer digits fit 64 bits: orjson reads them exactly.
_WIDE_INTEGER = b"0" * 20


class NotStorable(Invalid):
    """The value cannot be stored as JSON."""


def encode(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON that Postgres accepts.

    Raises `NotStorable` for NUL characters, lone surrogates, NaN, infinities, integers of more than 4,300 digits,
    nesting deeper than 254 levels, two keys of an object that are the same text, and types that JSON does not know.
    """
    try:
        encoded = orjson.dumps(value, default=_default)
    except orjson.JSONEncodeError as error:
        encoded = _encode_unusual(value, error)
    if b"\\u0000" in encoded and _NUL.search(encoded):
        raise NotStorable("Text with a NUL character cannot be stored")
    # orjson writes NaN as null: only what has nulls needs the slow look.
    if b"null" in encoded:
        _refuse_nan(value)
    return encoded


def decode(data: bytes | str) -> Any:
    """Parse JSON text, keeping every digit of an integer; raises `Invalid` with the position when it is malformed."""
    encoded = data.encode() if isinstance(data, str) else data
    try:
        if _WIDE_INTEGER in encoded.translate(_DIGITS_AS_ZERO):
            return json.loads(encoded)
        return orjson.loads(encoded)
    except ValueError as error:
        raise Invalid(f"Malformed JSON: {error}") from None


def _default(value: Any) -> Any:
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _encode_unusual(value: Any, error: Exception) -> bytes:
    if "key" in str(error):
        try:
            encoded = orjson.dumps(value, default=_default, option=orjson.OPT_NON_STR_KEYS)
        except orjson.JSONEncodeError as problem:
            error = problem
        else:
            _look_closer(value)
            return encoded
    if "64-bit" not in str(error):
        raise NotStorable(f"The value cannot be stored as JSON: {error}{_cause(error)}") from None
    _look_closer(value)
    try:
        text = json.dumps(value, default=_default, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise NotStorable(f"The value cannot be stored as JSON: {problem}") from None


def _cause(error: Exception) -> str:
    """What an object raised that was asked for its JSON."""
    return "" if type(error.__cause__) in (type(None), TypeError) else f" ({type(error.__cause__).__name__})"


def _look_closer(value: Any) -> None:
    """Refuse what other ways of encoding let through: keys that are the same text, and depth."""
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, dict):
            _refuse_twins(item)
            item = list(item.values())
        elif not isinstance(item, (list, tuple, set, frozenset)):
            continue
        if depth > MAX_DEPTH:
            raise NotStorable(f"The value is nested deeper than {MAX_DEPTH} levels")
        pending += [(inner, depth + 1) for inner in item]


def _refuse_twins(item: dict[Any, Any]) -> None:
    if all(type(key) is str for key in item):
        return
    seen: set[str] = set()
    for key in item:
        try:
            text = key if isinstance(key, str) else json.dumps(key)
        except (TypeError, ValueError):
            text = str(key)
        if text in seen:
            raise NotStorable(f"Two keys of an object are the same text: {text[:80]!r}")
        seen.add(text)


def _refuse_nan(value: Any) -> None:
    try:
        _STRICT.encode(value)
    except ValueError:
        raise NotStorable("NaN and infinities are not JSON numbers") from None


def _fields(value: Any) -> Any:
    """What is inside of an object that orjson knows and Python's encoder does not."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return _default(value) if hasattr(value, "model_dump") or isinstance(value, (set, frozenset)) else None


_STRICT = json.JSONEncoder(allow_nan=False, check_circular=False, skipkeys=True, default=_fields)
