"""Values as JSON, if they are not larger than values may be."""

from typing import Any

from django.conf import settings

from core import json
from executions.errors import TooLarge


def encode(value: Any) -> bytes:
    """The value as JSON; raises `NotStorable`, or `TooLarge` when that takes more than TASKLOOM_VALUE_BYTES."""
    encoded = json.encode(value)
    if len(encoded) > settings.VALUE_BYTES:
        raise TooLarge(size=len(encoded), limit=settings.VALUE_BYTES)
    return encoded
