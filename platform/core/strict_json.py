"""JSON from outside, read without mercy: what could not be stored or would be read differently is refused."""

import json
import re
from typing import Any, ClassVar

import orjson

from core.errors import DomainError

MAX_DEPTH = 64
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
    64 levels, for NUL characters and lone surrogates in a text, and for integers of more than 4,300 digits.
    """
    value = _load(text)
    _refuse_depth(value)
    if b"\\u0000" in text:
        _refuse_nul(value, [])
    return value


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


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for container in level
            if isinstance(container, (dict, list))
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise MalformedJSON(f"The value is nested deeper than {MAX_DEPTH} levels", loc=[], type="json_too_deep")


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
