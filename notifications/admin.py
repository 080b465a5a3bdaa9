"""Notices in the admin site: what was told, and mails that could not be sent."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from core.admin import ReadOnlyAdmin
from notifications import queue
from notifications.models import MailState, Notification


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """What people were told."""

    list_display = ("created_at", "user", "kind", "title", "read_at", "mail", "attempts", "key")
    list_filter = ("mail", "kind", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "key")
    search_help_text = "Part of an email address or a key"
    ordering = ("-created_at", "pk")
    actions = ("send_again",)

    @admin.display(description="title")
    def title(self, notice: Notification) -> str:
        """What it is about."""
        return notice.words.title

    @admin.action(description="Try to send the mails of the selected that failed", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Have their mails sent as if they had been told now."""
        failed = Notification.objects.filter(pk__in=queryset.values("pk"), mail=MailState.FAILED)
        count = failed.update(mail=MailState.DUE, due_at=timezone.now(), attempts=0)
        queue.send_mails()
        self.message_user(request, f"{count} mails will be sent.")

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)
