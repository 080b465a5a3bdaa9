"""The endpoints of the inbox."""

from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import checked_query, error_responses
from core.paging import CursorPaginationSerializer, CursorPaging, bounded_count, cursor_parameters
from notifications import services
from notifications.kinds import Kind
from notifications.models import Notification

NOTIFICATION_KINDS = [kind.value for kind in Kind]


class NotificationsQuery(serializers.Serializer[Any]):
    """Which notices."""

    unread = serializers.BooleanField(default=False, help_text="Only those that you have not read.")


class NotificationSerializer(serializers.Serializer[Any]):
    """Something that you were told."""

    id = serializers.UUIDField()
    type = serializers.ChoiceField(NOTIFICATION_KINDS)
    title = serializers.CharField()
    text = serializers.CharField()
    data = serializers.DictField(  # type: ignore[assignment]  # what serializers have under this name, nobody reads here
        help_text="What the text tells, for programs."
    )
    created_at = serializers.DateTimeField()
    read_at = serializers.DateTimeField(allow_null=True)


class NotificationsSerializer(serializers.Serializer[Any]):
    """A page of the inbox."""

    notifications = NotificationSerializer(many=True)
    unread_count = serializers.IntegerField(help_text="How many you have not read, counted up to 10,000.")
    pagination = CursorPaginationSerializer()


class ReadSerializer(serializers.Serializer[Any]):
    """What was read."""

    count = serializers.IntegerField(help_text="How many you had not read before.")


class NotificationsView(APIView):
    """The caller's inbox."""

    @extend_schema(
        tags=["notifications"],
        operation_id="list_notifications",
        summary="List what you were told",
        parameters=[NotificationsQuery, *cursor_parameters()],
        responses={200: NotificationsSerializer, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Newest first."""
        mine = Notification.objects.visible_to(cast(User, request.user))
        listed = mine.unread() if checked_query(NotificationsQuery, request)["unread"] else mine
        page, pagination = CursorPaging.of(request).cut(listed)
        answer = {
            "notifications": [_shown(notice) for notice in page],
            "unread_count": bounded_count(mine.unread()),
            "pagination": pagination,
        }
        return Response(NotificationsSerializer(answer).data)


class ReadView(APIView):
    """One notice."""

    @extend_schema(
        tags=["notifications"],
        operation_id="read_notification",
        summary="Say that you have read it",
        request=None,
        responses={204: None, **error_responses(401, 404)},
    )
    def post(self, request: Request, notification_id: UUID) -> Response:
        """It stays in the list; the time of the first reading counts."""
        services.mark_read(cast(User, request.user), notification_id)
        return Response(status=204)


class ReadAllView(APIView):
    """All notices."""

    @extend_schema(
        tags=["notifications"],
        operation_id="read_all_notifications",
        summary="Say that you have read everything",
        request=None,
        responses={200: ReadSerializer, **error_responses(401)},
    )
    def post(self, request: Request) -> Response:
        """They stay in the list."""
        return Response({"count": services.mark_all_read(cast(User, request.user))})


def _shown(notice: Notification) -> dict[str, Any]:
    words = notice.words
    return {
        "id": notice.pk,
        "type": notice.kind,
        "title": words.title,
        "text": words.text,
        "data": notice.data,
        "created_at": notice.created_at,
        "read_at": notice.read_at,
    }
