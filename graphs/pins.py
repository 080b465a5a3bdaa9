"""Dynamic pins: reading a part of an output, building an input from parts, and addressing tools.

A pin's name may go on behind its base name: `rows_$_0_#_id` is item 0 of `rows`, key `id` of that. `_$_` takes a
list index, `_#_` a dictionary key, `_@_` an attribute. Values are JSON data, so an object is a dictionary and
attributes are its keys. Pure functions; the values given to them are never changed.
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel

from graphs.blocks.base import BadPath

MAX_INDEX = 10_000
TOOLS = "tools"
_TOOL_PREFIX = "tools_^_"
_TOOL_FIELD = "_~_"
_SEPARATOR = re.compile(r"_([$#@])_")
_INDEX = re.compile(r"-?[0-9]{1,9}", re.ASCII)

Step = tuple[str, str]


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.MISSING


def base_name(name: str) -> str:
    """The part of a pin's name before its first dynamic separator."""
    return _SEPARATOR.split(name, 1)[0]


def is_dynamic(name: str) -> bool:
    """Whether the name has a base and a path of complete steps behind it."""
    return _parse(name) is not None


def is_tool_pin(name: str) -> bool:
    """Whether the name belongs to the tools of a decision maker, on either end of a link."""
    return name == TOOLS or name.startswith(_TOOL_PREFIX)


def tool_target(name: str) -> tuple[str, str] | None:
    """The (node id, sink pin) that the output pin `tools_^_<node id>_~_<pin>` speaks to; None for other names."""
    if not name.startswith(_TOOL_PREFIX):
        return None
    node, found, sink = name[len(_TOOL_PREFIX) :].partition(_TOOL_FIELD)
    return (node, sink) if node and found and sink else None


def split(value: Any, output_pin: str, source_name: str, sink: tuple[str, str] | None = None) -> Any:
    """What a link from `source_name` carries when a block yields `value` on `output_pin`; MISSING if nothing.

    A link that names the whole pin gets the value, null included. A link that names a part gets that part, or
    MISSING when it is not there, is null, or the path is malformed; negative indexes count from the end.
    `sink` is the link's (node id as text, pin): only an output that addresses exactly this tool reaches it.
    """
    if output_pin.startswith(_TOOL_PREFIX) and is_tool_pin(source_name):
        return value if sink is not None and tool_target(output_pin) == sink else MISSING
    if source_name == output_pin:
        return value
    parsed = _parse(source_name)
    if parsed is None or parsed[0] != output_pin:
        return MISSING
    for kind, token in parsed[1]:
        value = _part(value, kind, token)
        if value is None or value is MISSING:
            return MISSING
    return value


def merge(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with each base pin built from its flattened keys, which stay beside it; later keys win.

    A list is filled up with nulls to the index. A value of the wrong kind on the way, such as a text where a list
    belongs, is replaced. Names with an empty step are ordinary names.

    Raises `BadPath` for a list index that is no whole number from 0 to 10,000.
    """
    merged = dict(data)
    owned: set[int] = set()
    for name, value in data.items():
        parsed = _parse(name)
        if parsed is not None:
            base, path = parsed
            merged[base] = _with(merged.get(base), path, value, name, owned)
    return merged


@lru_cache(maxsize=65_536)
def _parse(name: str) -> tuple[str, tuple[Step, ...]] | None:
    """The base name and the steps behind it; None when there are none or one is empty."""
    base, *rest = _SEPARATOR.split(name)
    if not rest or not base or not all(rest[1::2]):
        return None
    return base, tuple(zip(rest[::2], rest[1::2], strict=True))


def _part(value: Any, kind: str, token: str) -> Any:
    if kind == "$":
        if not isinstance(value, (list, tuple)) or not _INDEX.fullmatch(token):
            return MISSING
        index = int(token)
        return value[index] if -len(value) <= index < len(value) else MISSING
    if isinstance(value, Mapping):
        return value.get(token, MISSING)
    # Only declared fields: any other attribute of a Python object is none of a graph's business.
    if kind == "@" and isinstance(value, BaseModel) and token in type(value).model_fields:
        return getattr(value, token)
    return MISSING


def _with(value: Any, path: tuple[Step, ...], leaf: Any, name: str, owned: set[int]) -> Any:
    """`value` with `leaf` at the end of `path`. Containers not made by this merge are copied before they change."""
    root = _owned(value, path[0][0], owned)
    container = root
    for position, (kind, token) in enumerate(path):
        key: int | str = _index(token, name) if kind == "$" else token
        if kind == "$":
            container.extend([None] * (int(key) + 1 - len(container)))
        if position == len(path) - 1:
            container[key] = leaf
            break
        inside = container[key] if kind == "$" else container.get(key)
        container[key] = _owned(inside, path[position + 1][0], owned)
        container = container[key]
    return root


def _owned(value: Any, kind: str, owned: set[int]) -> Any:
    wanted: type[Any] = list if kind == "$" else dict
    if id(value) in owned and isinstance(value, wanted):
        return value
    fresh = wanted(value) if isinstance(value, wanted) else wanted()
    owned.add(id(fresh))
    return fresh


def _index(token: str, name: str) -> int:
    if not _INDEX.fullmatch(token) or token.startswith("-"):
        raise BadPath(f"Pin '{name}': the list index '{token}' must be a whole number of 0 or more")
    if int(token) > MAX_INDEX:
        raise BadPath(f"Pin '{name}': the list index {token} is above the limit of {MAX_INDEX}")
    return int(token)
