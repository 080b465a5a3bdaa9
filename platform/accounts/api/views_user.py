"""The endpoints for what people decide for themselves."""

from typing import Any, cast

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import choices
from accounts.api.authentication import ACT_AS
from accounts.api.views_passwords import LinkSerializer
from accounts.errors import NotWhileImpersonating
from accounts.impersonation import Acting
from accounts.models import Notice, Preferences, User
from core import throttles
from core.api import error_responses

_OWN = error_responses(401, 413, 415, 422)
_MOST_MAILS = 1_000_000


def _is_a_time_zone(name: str) -> None:
    if name not in choices.time_zones():
        raise serializers.ValidationError("This is no IANA time zone, such as Europe/Zurich")


class EmailSerializer(serializers.Serializer[Any]):
    """An email address."""

    email = serializers.EmailField(max_length=254)


class TimezoneSerializer(serializers.Serializer[Any]):
    """A time zone."""

    timezone = serializers.CharField(max_length=64, validators=[_is_a_time_zone], help_text="An IANA name.")


class ChosenTimezoneSerializer(serializers.Serializer[Any]):
    """The time zone that was chosen."""

    timezone = serializers.CharField(help_text="An IANA name, or `not-set` until chosen.")


class PreferencesUpdateSerializer(serializers.Serializer[Any]):
    """What to be told from now on; kinds that are left out stay as they are."""

    email = serializers.EmailField(max_length=254)
    preferences = serializers.DictField(child=serializers.BooleanField())
    daily_limit = serializers.IntegerField(min_value=0, max_value=_MOST_MAILS, help_text="0 changes nothing.")

    def validate_preferences(self, preferences: dict[str, bool]) -> dict[Notice, bool]:
        """The kinds by name; raises `ValidationError` for an unknown one."""
        unknown = sorted(set(preferences) - set(Notice.values))
        if unknown:
            raise serializers.ValidationError(f"{unknown[0]!r} is none of {', '.join(Notice.values)}")
        return {Notice(name): wanted for name, wanted in preferences.items()}


class PreferencesSerializer(serializers.Serializer[Any]):
    """What the user is told by mail."""

    user_id = serializers.UUIDField()
    email = serializers.EmailField()
    preferences = serializers.DictField(child=serializers.BooleanField())
    daily_limit = serializers.IntegerField()
    emails_sent_today = serializers.IntegerField()
    last_reset_date = serializers.DateTimeField()


class EmailView(APIView):
    """The caller's address."""

    throttle_scope = "mails"
    acting = Acting.REFUSED

    @extend_schema(
        tags=["auth"],
        operation_id="change_email",
        summary="Ask for another address; a mail to it asks for consent",
        request={"application/json": {"type": "string", "format": "email", "maxLength": 254}},
        responses={200: EmailSerializer, **error_responses(403), **_OWN},
    )
    def post(self, request: Request) -> Response:
        """Send the link, and return the address that was asked for."""
        body = EmailSerializer(data={"email": request.data})
        body.is_valid(raise_exception=True)
        choices.ask_for_email(cast(User, request.user), body.validated_data["email"])
        return Response({"email": body.validated_data["email"].lower()})


class ConfirmEmailView(APIView):
    """Where the link to a new address leads."""

    throttle_scope = "proofs"
    authentication_classes = ()
    permission_classes = [AllowAny]

    @extend_schema(
        tags=["auth"],
        operation_id="confirm_email",
        summary="Change the address with the token of the mail",
        request=LinkSerializer,
        responses={204: None, **error_responses(400, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Give the user the new address."""
        body = LinkSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        choices.confirm_email(body.validated_data["token"])
        return Response(status=204)


class TimezoneView(APIView):
    """The caller's time zone."""

    @extend_schema(
        tags=["auth"],
        operation_id="get_timezone",
        summary="Get your time zone",
        responses={200: ChosenTimezoneSerializer, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """Return the time zone, or `not-set`."""
        return Response({"timezone": cast(User, request.user).time_zone})

    @extend_schema(
        tags=["auth"],
        operation_id="set_timezone",
        summary="Choose your time zone",
        request=TimezoneSerializer,
        responses={200: ChosenTimezoneSerializer, **_OWN},
    )
    def post(self, request: Request) -> Response:
        """Set the time zone, and return it."""
        body = TimezoneSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        choices.set_time_zone(cast(User, request.user), body.validated_data["timezone"])
        return Response({"timezone": body.validated_data["timezone"]})


class PreferencesView(APIView):
    """What the caller is told by mail."""

    @extend_schema(
        tags=["auth"],
        operation_id="get_preferences",
        summary="Get what you are told by mail",
        responses={200: PreferencesSerializer, **error_responses(401)},
    )
    def get(self, request: Request) -> Response:
        """Return the preferences."""
        return Response(_shown(choices.preferences_of(cast(User, request.user))))

    @extend_schema(
        tags=["auth"],
        operation_id="set_preferences",
        summary="Choose what you are told by mail",
        request=PreferencesUpdateSerializer,
        responses={200: PreferencesSerializer, **error_responses(403), **_OWN},
    )
    def post(self, request: Request) -> Response:
        """Set the preferences, and return them; another email is asked for as at `change_email`."""
        body = PreferencesUpdateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = cast(User, request.user)
        if body.validated_data["email"].lower() != user.email:
            if ACT_AS in request.headers:
                raise NotWhileImpersonating
            throttles.check_mail(request, body.validated_data["email"])
        chosen = choices.set_preferences(user, body.validated_data["preferences"], body.validated_data["daily_limit"])
        choices.ask_for_email(user, body.validated_data["email"])
        return Response(_shown(chosen))


def _shown(preferences: Preferences) -> dict[str, Any]:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "user_id": preferences.user.pk,
        "email": preferences.user.email,
        "preferences": {kind.value: kind.value not in preferences.unwanted for kind in Notice},
        "daily_limit": preferences.daily_limit,
        "emails_sent_today": preferences.mails_on(midnight.date()),
        "last_reset_date": midnight,
    }
