"""How requests name credentials: by placeholders, which say where a secret is and hold none."""

from typing import Any

from rest_framework import serializers


class CredentialsMetaInputSerializer(serializers.Serializer[Any]):
    """Which of the user's credentials to use."""

    id = serializers.CharField(max_length=200)
    provider = serializers.CharField(max_length=200)
    type = serializers.CharField(max_length=50)
    title = serializers.CharField(max_length=500, required=False, allow_null=True, allow_blank=True)
