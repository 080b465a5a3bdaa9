"""Graphs in the admin site: to look at, not to change."""

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from core.admin import ReadOnly, ReadOnlyAdmin, link_to
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock
from graphs.models import Graph, GraphVersion, Link, Node


class VersionInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """The versions of a graph."""

    model = GraphVersion
    fields = ("version", "name", "description", "created_at")
    readonly_fields = fields
    ordering = ("-version",)
    show_change_link = True
    extra = 0


class NodeInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """The nodes of a version; their constants may hold keys, so only the names of the pins are shown."""

    model = Node
    fields = ("position", "id", "block", "pins")
    readonly_fields = fields
    ordering = ("position",)
    extra = 0

    @admin.display()
    def block(self, node: Node) -> str:
        """The block's name."""
        try:
            return BLOCKS.get(node.block_id).name
        except UnknownBlock:
            return f"{node.block_id} (not installed)"

    @admin.display(description="pins with a constant")
    def pins(self, node: Node) -> str:
        """Which pins have a constant."""
        return ", ".join(node.input_default)


class LinkInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """The links of a version."""

    model = Link
    fields = ("position", "source_id", "source_name", "sink_id", "sink_name", "is_static")
    readonly_fields = fields
    ordering = ("position",)
    extra = 0


@admin.register(Graph)
class GraphAdmin(ReadOnlyAdmin):
    """All graphs with their versions."""

    list_display = ("names", "owner", "active_version", "latest_version", "updated_at", "id")
    list_select_related = ("owner",)
    list_filter = (("active_version", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("id", "owner__email", "versions__name")
    search_help_text = "Graph id, the owner's email, or a name"
    ordering = ("-updated_at", "-id")
    inlines = (VersionInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Graph]:
        """The graphs with the names of their versions."""
        return super().get_queryset(request).prefetch_related("versions")

    @admin.display(description="name")
    def names(self, graph: Graph) -> str:
        """What the newest version is called."""
        newest = max(graph.versions.all(), key=lambda version: version.version, default=None)
        return newest.name if newest else ""


@admin.register(GraphVersion)
class GraphVersionAdmin(ReadOnlyAdmin):
    """One version with its drawing."""

    list_display = ("name", "version", "graph_link", "owner", "nodes_in_it", "created_at")
    list_select_related = ("graph__owner",)
    list_filter = ("created_at",)
    search_fields = ("name", "graph__id", "graph__owner__email")
    ordering = ("-created_at", "-id")
    inlines = (NodeInline, LinkInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[GraphVersion]:
        """The versions with the number of their nodes."""
        versions: QuerySet[GraphVersion] = super().get_queryset(request)
        return versions.annotate(node_count=Count("nodes"))

    @admin.display(description="graph")
    def graph_link(self, version: GraphVersion) -> str:
        """The way to the graph."""
        return link_to("graphs_graph", version.graph_id, str(version.graph_id))

    @admin.display()
    def owner(self, version: GraphVersion) -> str:
        """Whose it is."""
        return version.graph.owner.email

    @admin.display(description="nodes", ordering="node_count")
    def nodes_in_it(self, version: GraphVersion) -> int:
        """How many nodes it has."""
        return int(getattr(version, "node_count", 0))
