"""The query parameters of the graph endpoints."""

from typing import Any

from rest_framework import serializers


class ExportQuery(serializers.Serializer[Any]):
    """How a version is wanted."""

    for_export = serializers.BooleanField(
        default=False,
        help_text="Leave out secrets, the owner and webhooks, so that it can be given away.",
    )


class VersionQuery(serializers.Serializer[Any]):
    """Which version is wanted."""

    version = serializers.IntegerField(min_value=1, required=False, help_text="The highest one unless given.")


class GraphQuery(ExportQuery, VersionQuery):
    """Which version is wanted, and how."""
