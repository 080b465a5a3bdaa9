"""JSON from outside, read without mercy: what could not be stored or would be read differently is refused."""

import json
import re
from typing import Any, ClassVar

import orjson

from core.errors import DomainError

MAX_DEPTH = 64
MOST_VALUES = 1_000_000
# A text, also one that does not end.
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_KEY_END = re.compile(rb'"\s*:')
# From 19 digits on orjson may round an integer to a float; Python's reader keeps every digit.
_WIDE_INTEGER = re.compile(rb"[0-9]{19}")


class MalformedJSON(DomainError):
    """The text is not acceptable JSON."""

    status: ClassVar[int] = 422
    hint: ClassVar[str] = "Send one JSON document in UTF-8."

    def __init__(self, message: str, *, loc: list[str | int], type: str) -> None:
        self.problems = [{"loc": ["body", *loc], "msg": message, "type": type}]
        super().__init__(message, detail=self.problems)


def parse(text: bytes) -> Any:
    """Return the value that `text` stands for.

    Raises `MalformedJSON` with the line and column of a syntax error, for NaN and infinities, for nesting deeper than
    64 levels, for more than a million values, for an object that has a key twice, for NUL characters and lone
    surrogates in a text, and for integers of more than 4,300 digits.
    """
    _refuse_many(text)
    value = _load(text)
    _refuse_twins(text, _keys_within_depth(value))
    if b"\\u0000" in text:
        _refuse_nul(value, [])
    return value


def _refuse_many(text: bytes) -> None:
    """Before anything is built of it: a few bytes of text become many of memory."""
    if _marks(text) > MOST_VALUES and _marks(_TEXT.sub(b"", text)) > MOST_VALUES:
        message = f"The document has more than {MOST_VALUES:,} values"
        raise MalformedJSON(message, loc=[], type="json_too_many_values")


def _marks(text: bytes) -> int:
    """As many as there are values, or a few more; those in texts count as well."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _load(text: bytes) -> Any:
    try:
        value = orjson.loads(text)
        if not _WIDE_INTEGER.search(text):
            return value
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise MalformedJSON(f"{error.msg} at {where}", loc=[error.pos], type="json_invalid") from None
    try:
        return json.loads(text)
    except ValueError:
        message = "An integer has more than 4300 digits"
        raise MalformedJSON(message, loc=[], type="integer_too_long") from None


def _keys_within_depth(value: Any) -> int:
    """How many keys the objects in `value` have together; raises `MalformedJSON` when it is nested too deep."""
    level, keys = [value], 0
    for _ in range(MAX_DEPTH + 1):
        keys += sum(len(item) for item in level if isinstance(item, dict))
        level = [
            item
            for container in level
            if isinstance(container, (dict, list))
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return keys
    raise MalformedJSON(f"The value is nested deeper than {MAX_DEPTH} levels", loc=[], type="json_too_deep")


def _refuse_twins(text: bytes, keys: int) -> None:
    """Of a key that comes twice the last value counts here, and perhaps the first where the text was checked before."""
    # Texts that contain a quote and a colon look like keys, so that there may be more of these than keys.
    if sum(1 for _ in _KEY_END.finditer(text)) != keys:
        json.loads(text, object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise MalformedJSON(f"An object has the key {key[:80]!r} twice", loc=[key[:80]], type="json_key_twice")
        found[key] = value
    return found


def _refuse_nul(value: Any, loc: list[str | int]) -> None:
    if isinstance(value, str) and "\0" in value:
        raise MalformedJSON("Text with a NUL character cannot be stored", loc=loc, type="string_nul")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_nul(key, loc)
            _refuse_nul(item, [*loc, key])
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, [*loc, index])
