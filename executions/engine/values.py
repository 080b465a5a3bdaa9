"""Values as they are stored: encoded once, short ones in the row, large ones apart and named by their hash. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core import json
from executions import previews
from executions.encoding import encode

# The longest JSON that stands in a row itself.
INLINE_BYTES = 32 * 1024
_SCALARS = (str, int, float, bool, type(None))


@dataclass(eq=False, slots=True)
class Large:
    """A value whose JSON, of `size` bytes, is stored apart under `hash`; rows hold that of a `preview` in its place."""

    value: Any
    hash: str
    size: int
    preview: bytes = b""


@dataclass(eq=False, slots=True)
class Stored:
    """A value that was given: as everybody sees it from now on, and as JSON. A large one has `large`, too."""

    value: Any
    encoded: bytes
    large: Large | None = None

    @property
    def in_row(self) -> bytes:
        """The JSON that stands in the row."""
        return self.encoded if self.large is None else self.large.preview


@dataclass(eq=False, slots=True)
class StoredInput:
    """What a block is given, by pin, as JSON. `references` names the large ones by hash, `blobs` holds the new ones."""

    encoded: bytes
    references: dict[str, str] | None = None
    blobs: dict[str, bytes] | None = None


NO_INPUT = StoredInput(b"{}")


def store(value: Any) -> Stored:
    """Encode a value that a block gave, once and for all.

    Behind its pin everybody sees what is stored, not an object that the block may still change. Raises `NotStorable`,
    or `TooLarge`.
    """
    encoded = encode(value)
    seen = value if type(value) in _SCALARS else json.decode(encoded)
    return Stored(seen, encoded, _large(seen, encoded) if len(encoded) > INLINE_BYTES else None)


def store_input(data: Mapping[str, Any], arrived: Mapping[str, Any]) -> StoredInput:
    """Encode what a block is given. A large value that `arrived` whole is not encoded again, only named.

    Raises `NotStorable`, or `TooLarge` for a pin whose JSON is.
    """
    known = {pin: item for pin, item in arrived.items() if type(item) is Large and data.get(pin) is item.value}
    if not known:
        encoded = _encode_short(data)
        if encoded is not None:
            return StoredInput(encoded)
    in_row: dict[str, orjson.Fragment] = {}
    blobs: dict[str, bytes] = {}
    for pin, value in data.items():
        if pin not in known:
            encoded = encode(value)
            if len(encoded) <= INLINE_BYTES:
                in_row[pin] = orjson.Fragment(encoded)
                continue
            known[pin] = _large(value, encoded)
            blobs[known[pin].hash] = encoded
        in_row[pin] = orjson.Fragment(known[pin].preview)
    return StoredInput(orjson.dumps(in_row), {pin: large.hash for pin, large in known.items()}, blobs)


def recall(value: Any, blob: str | None, blobs: Mapping[str, Large]) -> Stored:
    """A value from its row: itself, or a preview and the hash of the blob, which is among `blobs`."""
    if blob is None:
        return Stored(value, b"")
    found = blobs[blob]
    return Stored(found.value, b"", Large(found.value, blob, found.size, json.encode(value)))


def recall_input(
    data: Mapping[str, Any], references: Mapping[str, str] | None, blobs: Mapping[str, Large]
) -> dict[str, Any]:
    """What a block was given, from its row, with large values as `Large`."""
    found = {pin: recall(data[pin], blob, blobs).large for pin, blob in (references or {}).items()}
    return {**data, **found}


def size_of_large(values: Mapping[str, Any]) -> int:
    """How many bytes the large ones among the values have."""
    return sum(item.size for item in values.values() if type(item) is Large)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values themselves, large or not."""
    return {pin: item.value if type(item) is Large else item for pin, item in values.items()}


def _encode_short(data: Mapping[str, Any]) -> bytes | None:
    """The JSON of all pins together, or None when they have to be looked at one by one."""
    try:
        encoded = json.encode(data)
    except json.NotStorable:
        # Together they are one level deeper than each alone.
        return None
    return encoded if len(encoded) <= INLINE_BYTES else None


def _large(value: Any, encoded: bytes) -> Large:
    preview = json.encode(previews.preview(value, previews.STORED_LENGTH))
    return Large(value, hashlib.sha256(encoded).hexdigest(), len(encoded), preview)
