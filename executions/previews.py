"""Values cut short, for whoever only watches: the ends of long texts and lists, the first entries of large objects.

Pure. Lengths are characters of JSON.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

VALUE_LENGTH = 8 * 1024
OBJECT_LENGTH = 32 * 1024

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

    Texts and lists keep both ends around a marker that says how much is missing, objects their first entries.
    """
    if isinstance(value, str):
        return value if len(value) <= length else _text(value, length)
    if not isinstance(value, (list, dict)) or length_of(value) <= length:
        return value
    return _list(value, length) if isinstance(value, list) else _object(value, length)


def preview_entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """An object of which each value, and the whole, is cut."""
    shown = {name: preview(value) for name, value in values.items()}
    return shown if length_of(shown) <= OBJECT_LENGTH else _object(shown, OBJECT_LENGTH)


def length_of(value: Any) -> int:
    """How many characters the value's JSON has."""
    return len(json.dumps(value, ensure_ascii=False))


def _text(text: str, length: int) -> str:
    edge = max(length // 2, 1)
    return f"{text[:edge]} … {len(text) - 2 * edge} characters left out … {text[-edge:]}"


def _list(items: list[Any], length: int) -> list[Any]:
    front = _first_of(items, length // 2)
    back = _first_of(reversed(items[len(front) :]), length // 2)[::-1]
    missing = len(items) - len(front) - len(back)
    return [*front, f"… {missing} items left out …", *back] if missing else [*front, *back]


def _first_of(items: Iterable[Any], length: int) -> list[Any]:
    shown: list[Any] = []
    for item in items:
        if length <= 0:
            break
        shown.append(preview(item, length))
        length -= length_of(shown[-1]) + 2
    return shown


def _object(entries: Mapping[str, Any], length: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in entries.items():
        if length <= 0:
            shown["…"] = f"{len(entries) - len(shown)} entries left out"
            break
        name = name if len(name) <= EDGE else _text(name, EDGE)
        shown[name] = preview(value, length)
        length -= len(name) + length_of(shown[name]) + 6
    return shown
