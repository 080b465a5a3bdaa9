"""Choices in requests."""

from typing import Any, NoReturn

from rest_framework import serializers


class OneOfField(serializers.ChoiceField):
    """One of a few texts; the refusal of another names them."""

    default_error_messages = {"invalid_choice": 'Input should be one of {choices}, not "{input}".'}

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        """Refuse the input."""
        super().fail(key, choices=", ".join(map(str, self.choices)), **kwargs)
