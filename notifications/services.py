"""Telling people what happened."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts.models import User
from notifications import queue
from notifications.errors import NoSuchNotification
from notifications.kinds import Kind
from notifications.models import Notification


def notify(user_id: UUID, kind: Kind, *, key: str, data: Mapping[str, Any]) -> bool:
    """Tell a user something, once for its key, as part of the transaction; returns whether they are told now.

    `data` is what `notifications.kinds` puts into words.
    """
    made = Notification(user_id=user_id, kind=kind, key=key, data=dict(data))
    Notification.objects.bulk_create([made], ignore_conflicts=True)
    is_new = Notification.objects.filter(pk=made.pk).exists()
    if is_new:
        queue.send_mails()
    return is_new


def mark_read(user: User, notification_id: UUID) -> None:
    """Write down that the user has read a notice; raises `NoSuchNotification`."""
    mine = Notification.objects.visible_to(user).filter(pk=notification_id)
    if not mine.unread().update(read_at=timezone.now()) and not mine.exists():
        raise NoSuchNotification(notification_id=str(notification_id))


def mark_all_read(user: User) -> int:
    """Write down that the user has read all notices; returns how many they had not read before."""
    return Notification.objects.visible_to(user).unread().update(read_at=timezone.now())
