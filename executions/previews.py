"""Values cut short, for whoever only watches: the ends of long texts and lists, the first entries of large objects.

Pure. Lengths are characters of JSON.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

VALUE_LENGTH = 8 * 1024
OBJECT_LENGTH = 32 * 1024
# Of a preview that is stored in place of a large value: short enough never to be cut again.
STORED_LENGTH = 6 * 1024
# Deeper inside, what is too long is left out.
_MAX_DEPTH = 16

# The longest value that is fetched to be cut here; of a longer one Postgres cuts the text of its JSON.
FETCHED_LENGTH = 32 * 1024
# How much of either end such a cut leaves.
EDGE = 1500


def cut_in_sql(value: str, whole: str = "") -> str:
    """The SQL expression for the text of the jsonb expression `value`, cut unless the condition `whole` holds."""
    plain = f"({value} #>> '{{}}')"
    marker = f"' … ' || (length({plain}) - {2 * EDGE}) || ' characters left out … '"
    return (
        f"CASE WHEN {whole or short_in_sql(value)} THEN {value}::text"
        f" ELSE to_jsonb(left({plain}, {EDGE}) || {marker} || right({plain}, {EDGE}))::text END"
    )


def cut_object_in_sql(value: str, whole: str = "") -> str:
    """As `cut_in_sql` for a jsonb object, of which each entry is cut by itself."""
    entry = f"({cut_in_sql('value', f'octet_length(value::text) <= {2 * EDGE}')})::jsonb"
    entries = f"(SELECT jsonb_object_agg(key, {entry})::text FROM jsonb_each({value}))"  # noqa: S608  callers pass columns
    return f"CASE WHEN {whole or short_in_sql(value)} THEN {value}::text ELSE {entries} END"


def short_in_sql(value: str) -> str:
    """The SQL condition that the jsonb expression `value` is short enough to be fetched."""
    return f"octet_length({value}::text) <= {FETCHED_LENGTH}"


def preview(value: Any, length: int = VALUE_LENGTH) -> Any:
    """`value` itself when its JSON has at most about `length` characters, else a shorter value of the same kind.

    Texts and lists keep both ends around a marker that says how much is missing, objects their first entries. What it
    takes depends on `length`, not on how long the value is.
    """
    return _preview(value, length, 0)


def preview_entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """An object of which each value, and the whole, is cut."""
    shown = {name: preview(value) for name, value in values.items()}
    return shown if _fits(shown, OBJECT_LENGTH) else _object(shown, OBJECT_LENGTH, 0)


def length_of(value: Any) -> int:
    """How many characters the value's JSON has."""
    return len(json.dumps(value, ensure_ascii=False))


def _preview(value: Any, length: int, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= length else _text(value, length)
    if not isinstance(value, (list, dict)) or _fits(value, length):
        return value
    if depth == _MAX_DEPTH:
        return "…"
    return _list(value, length, depth) if isinstance(value, list) else _object(value, length, depth)


def _fits(value: Any, length: int) -> bool:
    """Whether the value's JSON has at most about `length` characters; looks no further than that."""
    pending = [value]
    while pending and length >= 0:
        item = pending.pop()
        if isinstance(item, str):
            length -= len(item) + 2
        elif isinstance(item, list):
            length -= max(2, 2 * len(item))
            pending += islice(item, max(0, length) + 1)
        elif isinstance(item, dict):
            length -= max(2, 4 * len(item))
            entries = islice(item.items(), max(0, length) + 1)
            pending += [part for entry in entries for part in entry]
        else:
            length -= len(json.dumps(item))
    return length >= 0


def _text(text: str, length: int) -> str:
    edge = max(length // 2, 1)
    return f"{text[:edge]} … {len(text) - 2 * edge} characters left out … {text[-edge:]}"


def _list(items: list[Any], length: int, depth: int) -> list[Any]:
    front = _first_of(items, length // 2, depth)
    back = _first_of(islice(reversed(items), len(items) - len(front)), length // 2, depth)[::-1]
    missing = len(items) - len(front) - len(back)
    return [*front, f"… {missing} items left out …", *back] if missing else [*front, *back]


def _first_of(items: Iterable[Any], length: int, depth: int) -> list[Any]:
    shown: list[Any] = []
    for item in items:
        if length <= 0:
            break
        shown.append(_preview(item, length, depth + 1))
        length -= length_of(shown[-1]) + 2
    return shown


def _object(entries: Mapping[str, Any], length: int, depth: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in entries.items():
        if length <= 0:
            shown["…"] = f"{len(entries) - len(shown)} entries left out"
            break
        name = name if len(name) <= EDGE else _text(name, EDGE)
        shown[name] = _preview(value, length, depth + 1)
        length -= len(name) + length_of(shown[name]) + 6
    return shown
