"""What the endpoints of API keys take and give."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from accounts.models import ApiKey, ApiKeyPermission
from core.choices import OneOfField
from core.units import MOST_CREDITS
from core.whole_numbers import WholeNumberField


def _permissions() -> serializers.ListField:
    return serializers.ListField(
        child=OneOfField(ApiKeyPermission.choices),
        min_length=1,
        max_length=100,
        help_text="What a program with the key may do.",
    )


def _max_credits(**settings: Any) -> serializers.IntegerField:
    return WholeNumberField(
        min_value=1,
        max_value=MOST_CREDITS,
        allow_null=True,
        help_text="The most that all runs started with the key may use together; null: no limit.",
        **settings,
    )


class CreateApiKeySerializer(serializers.Serializer[Any]):
    """What a new key is to be."""

    name = serializers.CharField(max_length=100)
    permissions = _permissions()
    description = serializers.CharField(max_length=2_000, default="", allow_blank=True, allow_null=True)
    expires_at = serializers.DateTimeField(
        default=None, allow_null=True, help_text="From when on the key is refused; never, unless given."
    )
    max_credits = _max_credits(default=None)

    def validate_description(self, text: str | None) -> str:
        """None is as good as nothing."""
        return text or ""

    def validate_expires_at(self, time: datetime | None) -> datetime | None:
        """A time to come."""
        if time is not None and time <= timezone.now():
            raise serializers.ValidationError("Input should be in the future")
        return time


class PermissionsSerializer(serializers.Serializer[Any]):
    """What a key may do from now on."""

    permissions = _permissions()


class BudgetSerializer(serializers.Serializer[Any]):
    """What the runs of a key may use from now on."""

    max_credits = _max_credits()


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key without its secret."""

    user_id = serializers.UUIDField()
    scopes = serializers.ListField(child=serializers.ChoiceField(ApiKeyPermission.choices), source="permissions")
    type = serializers.SerializerMethodField()
    head = serializers.CharField(help_text="The first 8 characters of the key.")
    tail = serializers.CharField(help_text="The last 8 characters of the key.")
    credits_used = serializers.FloatField(
        allow_null=True, help_text="What its runs have used, or set aside for what is under way; null: no limit."
    )
    credits_left = serializers.FloatField(allow_null=True, help_text="What is left of `max_credits`; null: no limit.")

    class Meta:
        model = ApiKey
        fields = [
            "id", "user_id", "name", "head", "tail", "status", "scopes", "type", "description", "created_at",
            "expires_at", "last_used_at", "revoked_at", "max_credits", "credits_used", "credits_left",
        ]  # fmt: skip
        read_only_fields = fields

    def get_type(self, key: ApiKey) -> str:
        """What tells keys from other ways in."""
        return "api_key"


class CreatedApiKeySerializer(serializers.Serializer[Any]):
    """A new key, with the only sight of its secret."""

    api_key = ApiKeySerializer()
    plain_text_key = serializers.CharField(help_text="Goes with each request as `X-API-Key`. It is not shown again.")
