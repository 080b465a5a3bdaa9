"""Notices: what people were told, in their inbox and by mail."""

from datetime import datetime
from typing import Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models.functions import Now

from accounts.models import User
from core.ids import uuid7
from notifications.kinds import Kind, Words, words_of


class MailState(models.TextChoices):
    """What became of the mail of a notice."""

    DUE = "due"
    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Questions about notices."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """Those of `user`."""
        return self.filter(user=user.pk)

    def unread(self) -> Self:
        """Those that their user has not read."""
        return self.filter(read_at=None)

    def due(self, now: datetime) -> Self:
        """Those of which a mail is to be sent by now, the longest due first."""
        return self.filter(mail=MailState.DUE, due_at__lte=now).order_by("due_at", "pk")

    def locked(self, notification_id: UUID) -> "Notification | None":
        """One that nobody else changes until the transaction ends; None if somebody has it."""
        return self.select_for_update(skip_locked=True, of=("self",)).filter(pk=notification_id).first()


class Notification(models.Model):
    """Something that a user is told, once for its `key`: in the inbox, and by mail unless they do not want that.

    It is written in the transaction of what it is about, by triggers of the database too. While its mail is due, it is
    sent at `due_at`; `attempts` counts those that failed.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Without a constraint: what it is about must not fail because a user has just been deleted.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    kind = models.CharField(max_length=30, choices=[(kind.value, kind.value) for kind in Kind])
    key = models.CharField(max_length=200, unique=True)
    data = models.JSONField(db_default={})
    created_at = models.DateTimeField(db_default=Now())
    read_at = models.DateTimeField(null=True, blank=True)
    mail = models.CharField(max_length=7, choices=MailState.choices, db_default=MailState.DUE)
    due_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveSmallIntegerField(db_default=0)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["user", "-created_at", "-id"], name="inbox_of_a_user"),
            models.Index(fields=["user"], name="unread_of_a_user", condition=models.Q(read_at=None)),
            models.Index(fields=["due_at"], name="mails_that_are_due", condition=models.Q(mail="due")),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def words(self) -> Words:
        """What it says."""
        return words_of(Kind(self.kind), self.data)
