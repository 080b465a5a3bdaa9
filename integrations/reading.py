"""What is shown of webhooks."""

from typing import Any

from rest_framework import serializers


class WebhookSerializer(serializers.Serializer[Any]):
    """A webhook as its owner, and nobody else, sees it: with its secret."""

    id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    provider = serializers.CharField()
    credentials_id = serializers.CharField(allow_blank=True)
    webhook_type = serializers.CharField()
    resource = serializers.CharField(allow_blank=True)
    events = serializers.ListField(child=serializers.CharField())
    config = serializers.DictField()
    secret = serializers.CharField(help_text="What deliveries are signed with.")
    provider_webhook_id = serializers.CharField(allow_blank=True)
    url = serializers.CharField(help_text="Where the provider sends its events.")
