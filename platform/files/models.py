"""Rows of files: whose they are, what they are called, and how far they are kept."""

from datetime import datetime
from typing import Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Count, Q, Sum

from accounts.models import User
from core.models import TimeStamped

SCHEME = "workspace://"


class State(models.TextChoices):
    """How far a file is kept: its content is being written, is there, or is about to go."""

    STORING = "storing"
    STORED = "stored"
    LEAVING = "leaving"


class StoredFileQuerySet(models.QuerySet["StoredFile"]):
    """Questions about files."""

    def visible_to(self, user: User | AnonymousUser | UUID, now: datetime) -> Self:
        """The files that `user` may see at this time: their own, whole, and not expired."""
        owner = user if isinstance(user, UUID) else user.pk
        return self.filter(user=owner, state=State.STORED, expires_at__gt=now)

    def unwanted(self, now: datetime, abandoned_before: datetime) -> Self:
        """Those that have expired, are about to go, or were begun before that time and never became whole."""
        abandoned = Q(state=State.STORING, created_at__lt=abandoned_before)
        return self.filter(Q(expires_at__lte=now) | Q(state=State.LEAVING) | abandoned)

    def usage(self) -> tuple[int, int]:
        """How many they are, and their bytes together. All count that have, or may have, bytes in the storage."""
        found = self.aggregate(number=Count("pk"), size=Sum("size"))
        return found["number"], found["size"] or 0


class StoredFile(TimeStamped):
    """A file of `user`; its content is in the storage under `path` and has `size` bytes.

    A run made it if there is a `run_id`. Storing again with the same `key` finds it. `sha256` is in hexadecimal.
    """

    # Indexes of several columns begin with it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=200)
    media_type = models.CharField(max_length=255)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.STORING)
    expires_at = models.DateTimeField(db_index=True)
    run_id = models.UUIDField(null=True, blank=True)
    # Null where there is none, so that the constraint does not see it.
    key = models.CharField(max_length=300, null=True, blank=True)  # noqa: DJ001

    objects = StoredFileQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(size__gte=0), name="files_have_no_negative_size"),
            models.UniqueConstraint(fields=["user", "key"], name="file_is_stored_once_per_user_and_key"),
        )
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="files_of_a_user_by_time", include=["size"]),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> str:
        """Where its content is in the storage: nothing of it is chosen by a user. Folders stay small."""
        return f"{self.pk.hex[-2:]}/{self.pk}"

    @property
    def uri(self) -> str:
        """How it is named in runs."""
        return f"{SCHEME}{self.pk}"
