"""Whole numbers in requests."""

from typing import Any

from rest_framework import serializers


class WholeNumberField(serializers.IntegerField):
    """A JSON number without a fraction: money is not guessed from texts."""

    default_error_messages = {"not_a_number": "Input should be a whole number, not a text or a fraction."}

    def to_internal_value(self, data: Any) -> int:
        """The number itself."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("not_a_number")
        return super().to_internal_value(data)
