"""Rows of the library, and the questions about them."""

from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.deletion import CASCADE, RESTRICT, Collector

from accounts.models import User
from core.models import TimeStamped
from graphs.models import Graph
from integrations.models import Webhook

NAME_LENGTH = 200


def restrict_unless_deleted(collector: Collector, field: Any, rows: Any, using: str) -> None:
    """What becomes of presets when their graph goes: those that can be used keep it, those deleted before go along."""
    RESTRICT(collector, field, rows.filter(is_deleted=False), using)
    CASCADE(collector, field, rows.filter(is_deleted=True), using)


class PresetQuerySet(models.QuerySet["Preset"]):
    """Questions about presets."""

    def visible_to(self, user: User | AnonymousUser | UUID) -> Self:
        """The presets that `user` may see: their own, deleted ones excepted."""
        owner = user if isinstance(user, UUID) else user.pk
        return self.filter(user=owner, is_deleted=False)

    def triggered_by(self, webhook_id: UUID) -> Self:
        """Those that events at this webhook run, oldest first."""
        return self.filter(webhook=webhook_id, is_active=True, is_deleted=False).order_by("created_at", "pk")

    def locked(self) -> Self:
        """The same rows, locked until the transaction ends."""
        return self.select_for_update(of=("self",))


class Preset(TimeStamped):
    """A version of a graph with values to run it with: `inputs` by the names of its inputs, `credentials` by those of
    its credentials, which say which to use and are none.

    With a webhook its events run the preset unless that is switched off, and `inputs` go to the pins of the node
    that takes them. A deleted preset is kept for the runs that name it.
    """

    # Indexes of several columns begin with it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=CASCADE, related_name="+", db_index=False)
    graph = models.ForeignKey(Graph, on_delete=restrict_unless_deleted, related_name="+")
    graph_version = models.PositiveIntegerField()
    name = models.CharField(max_length=NAME_LENGTH)
    description = models.TextField(blank=True, default="")
    inputs = models.JSONField()
    credentials = models.JSONField()
    is_active = models.BooleanField(default=True)
    is_deleted = models.BooleanField(default=False)
    webhook = models.ForeignKey(Webhook, on_delete=RESTRICT, null=True, blank=True, related_name="+")

    objects = PresetQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_deleted=False) | Q(webhook=None), name="deleted_presets_have_no_webhook"
            ),
        ]
        indexes = [
            models.Index(fields=["user", "-created_at", "-id"], name="presets_of_a_user", condition=Q(is_deleted=False))
        ]

    def __str__(self) -> str:
        return self.name
