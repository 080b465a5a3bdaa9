"""What people looked for in the menu."""

from typing import Self
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import User
from core.models import TimeStamped

MAX_QUERY = 100
MAX_CREATORS = 20


class SearchQuerySet(models.QuerySet["Search"]):
    """Questions about searches."""

    def visible_to(self, user: User) -> Self:
        """The searches of `user`."""
        return self.filter(user=user.pk)

    def newest(self, number: int) -> Self:
        """The last ones."""
        return self.order_by("-updated_at", "-pk")[:number]

    def forget_all_but(self, user_id: UUID, number: int) -> None:
        """Delete what a user looked for before their last searches."""
        kept = self.filter(user=user_id).newest(number).values("pk")
        self.filter(user=user_id).exclude(pk__in=list(kept.values_list("pk", flat=True))).delete()


class Search(TimeStamped):
    """A search in the menu; typing on changes it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    query = models.CharField(max_length=MAX_QUERY)
    filters = ArrayField(models.CharField(max_length=30), default=list)
    creators = ArrayField(models.CharField(max_length=150), default=list)

    objects = SearchQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["user", "-updated_at", "-id"], name="searches_of_a_user")]

    def __str__(self) -> str:
        return self.query
