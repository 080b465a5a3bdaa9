"""What the endpoints about people take and give."""

from typing import Any

from rest_framework import serializers

from accounts.models import User


class LoginSerializer(serializers.Serializer[Any]):
    """An email address, in any case, and a password."""

    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class RefreshSerializer(serializers.Serializer[Any]):
    """The refresh token of the last pair."""

    refresh = serializers.CharField(max_length=8192)


class LogoutSerializer(serializers.Serializer[Any]):
    """Nothing, or a refresh token whose login shall end."""

    refresh = serializers.CharField(max_length=8192, required=False)


class TokensSerializer(serializers.Serializer[Any]):
    """A pair of tokens."""

    access = serializers.CharField(help_text="Goes with each request as `Authorization: Bearer`; good for an hour.")
    refresh = serializers.CharField(help_text="Buys the next pair at POST /api/auth/token/refresh.")


class UserSerializer(serializers.ModelSerializer[User]):
    """A person."""

    timezone = serializers.CharField(source="time_zone", help_text="An IANA name, or `not-set` until chosen.")

    class Meta:
        model = User
        fields = ["id", "email", "email_verified", "name", "role", "timezone", "created_at", "updated_at"]


class TicketSerializer(serializers.Serializer[Any]):
    """What opens one socket or stream."""

    ticket = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds in which it must be used.")
