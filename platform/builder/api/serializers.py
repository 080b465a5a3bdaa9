"""The query parameters of the menu's endpoints."""

from typing import Any

from rest_framework import serializers

from builder.menu import BlockType
from builder.models import MAX_CREATORS
from builder.services import Filter
from core.choices import OneOfField

MOST_IDS = 500


class CategoriesQuery(serializers.Serializer[Any]):
    """How much of each category is wanted."""

    blocks_per_category = serializers.IntegerField(min_value=0, max_value=100, default=3)


class BlocksQuery(serializers.Serializer[Any]):
    """Which blocks are wanted; one of the three at most."""

    category = serializers.CharField(required=False, max_length=50)
    type = OneOfField([each.value for each in BlockType], required=False)
    provider = serializers.CharField(required=False, max_length=200)


class BatchQuery(serializers.Serializer[Any]):
    """Which blocks are wanted."""

    block_ids = serializers.ListField(child=serializers.CharField(max_length=255), min_length=1, max_length=MOST_IDS)


class SearchQuery(serializers.Serializer[Any]):
    """What is looked for; the parameters that are lists come once for each item."""

    search_query = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=1000, help_text="Its first 100 characters count."
    )
    filter = serializers.ListField(
        child=OneOfField([each.value for each in Filter]), required=False, max_length=len(Filter)
    )
    search_id = serializers.UUIDField(required=False, help_text="Of the search that this one goes on.")
    by_creator = serializers.ListField(
        child=serializers.CharField(max_length=150), required=False, max_length=MAX_CREATORS
    )
