"""Graphs as rows: a graph has versions, a version has nodes and links and never changes."""

from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import F, Q

from accounts.models import User
from core.ids import uuid7
from core.models import TimeStamped
from graphs.schemas import CRON_LENGTH, NAME_LENGTH, PIN_NAME_LENGTH


class WrittenOnce(models.Model):
    """A row that is inserted and never saved again: engines cache what it says."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row; raises `TypeError` when it exists already."""
        if not self._state.adding:
            raise TypeError(f"A saved {type(self).__name__} is immutable; save a new version of the graph instead")
        super().save(*args, **kwargs)


class GraphQuerySet(models.QuerySet["Graph"]):
    """Questions about graphs."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The graphs that `user` may see: their own."""
        return self.filter(owner_id=user.pk) if user.is_authenticated else self.none()

    def locked(self) -> Self:
        """The same rows, held against other writers until the transaction ends."""
        return self.select_for_update(of=("self",))


class Graph(TimeStamped):
    """What all versions of one drawing have in common; its id is the one that clients know.

    `active_version` is the version that the library and the triggers use, if any; `latest_version` the highest.
    With `human_in_the_loop_safe_mode` its runs wait for people where the drawing says so, with
    `sensitive_action_safe_mode` also before each block that is sensitive.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    active_version = models.PositiveIntegerField(null=True, blank=True)
    latest_version = models.PositiveIntegerField(default=1)
    forked_from_id = models.UUIDField(null=True, blank=True)
    forked_from_version = models.PositiveIntegerField(null=True, blank=True)
    human_in_the_loop_safe_mode = models.BooleanField(default=True, db_default=True)
    sensitive_action_safe_mode = models.BooleanField(default=False, db_default=False)

    objects = GraphQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(latest_version__gte=1), name="graph_versions_start_at_one"),
            models.CheckConstraint(
                condition=Q(active_version__isnull=True) | Q(active_version__range=(1, F("latest_version"))),
                name="active_version_exists",
            ),
            models.CheckConstraint(
                condition=Q(forked_from_id__isnull=True, forked_from_version__isnull=True)
                | Q(forked_from_id__isnull=False, forked_from_version__isnull=False),
                name="fork_origin_is_whole",
            ),
        ]
        indexes = [models.Index(fields=["owner", "-updated_at", "-id"], name="graphs_of_an_owner")]

    def __str__(self) -> str:
        return f"Graph {self.pk}"


class GraphVersionQuerySet(models.QuerySet["GraphVersion"]):
    """Questions about versions."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The versions of the graphs that `user` may see."""
        return self.filter(graph__owner_id=user.pk) if user.is_authenticated else self.none()

    def active(self) -> Self:
        """The active version of each graph."""
        return self.filter(version=F("graph__active_version"))

    def with_nodes(self) -> Self:
        """The same versions with their graph and nodes fetched along."""
        return self.select_related("graph").prefetch_related(nodes_in_order())

    def with_drawing(self) -> Self:
        """The same versions with their graph, nodes and links fetched along."""
        return self.with_nodes().prefetch_related(models.Prefetch("links", Link.objects.order_by("position", "id")))


def nodes_in_order() -> "models.Prefetch[Any]":
    """To fetch the nodes of versions along, in the order in which they were drawn."""
    return models.Prefetch("nodes", Node.objects.order_by("position", "id"))


class GraphVersion(WrittenOnce):
    """One saved drawing of a graph."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    graph = models.ForeignKey(Graph, models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    name = models.CharField(max_length=NAME_LENGTH)
    description = models.TextField(blank=True, default="")
    instructions = models.TextField(blank=True, default="")
    recommended_schedule_cron = models.CharField(max_length=CRON_LENGTH, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GraphVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["graph", "version"], name="graph_has_each_version_once"),
            models.CheckConstraint(condition=Q(version__gte=1), name="versions_start_at_one"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @property
    def is_active(self) -> bool:
        """Whether the library and the triggers use this version."""
        return self.graph.active_version == self.version


class Node(WrittenOnce):
    """A block placed in a version; `position` is its place in the drawing's list of nodes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    graph_version = models.ForeignKey(GraphVersion, models.CASCADE, related_name="nodes")
    block_id = models.CharField(max_length=36)
    input_default = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    position = models.PositiveIntegerField(default=0)
    webhook_id = models.UUIDField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["block_id"], name="nodes_of_a_block"),
            models.Index(fields=["webhook_id"], name="nodes_of_a_webhook", condition=Q(webhook_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"Node {self.pk}"


class Link(WrittenOnce):
    """A wire between two nodes of one version; `position` decides the order in which a value goes out."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    graph_version = models.ForeignKey(GraphVersion, models.CASCADE, related_name="links")
    source = models.ForeignKey(Node, models.CASCADE, related_name="output_links", db_index=False)
    source_name = models.CharField(max_length=PIN_NAME_LENGTH)
    sink = models.ForeignKey(Node, models.CASCADE, related_name="input_links")
    sink_name = models.CharField(max_length=PIN_NAME_LENGTH)
    is_static = models.BooleanField(default=False)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "source_name", "sink", "sink_name"],
                name="two_pins_are_linked_once",
            ),
        ]

    def __str__(self) -> str:
        return f"Link {self.pk}"
