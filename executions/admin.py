"""Runs in the admin site: to look at, and to stop."""

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import CharField, F, Model, OuterRef, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.models import User
from core.admin import ReadOnlyAdmin, link_to
from core.errors import DomainError
from core.paging import bounded_count
from executions import previews, services, sharing
from executions.models import Event, GraphExecution, NodeExecution, NodeOutput
from executions.picture import duration, friendly, title_of
from executions.reading import block_name, picture_of
from graphs.models import GraphVersion
from graphs.services import load_definition

MOST_ROWS = 100
# Of each activation in the table of a run.
_MOST_OUTPUTS = 3
_MOST_CHARACTERS = 100


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than somebody would page, for counting a big table takes seconds."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or 10,000 when there are more."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin's are always query sets
        return bounded_count(rows)


class ExecutionAdmin(ReadOnlyAdmin):
    """Rows that the engine writes and nobody else, too many to count."""

    paginator = BoundedPaginator


@admin.register(GraphExecution)
class GraphExecutionAdmin(ExecutionAdmin):
    """Find runs, see what they did, stop them."""

    list_display = ("short_id", "graph_name", "user", "status", "nodes", "started_at", "took")
    list_filter = ("status", "created_at", ("shared_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    ids = ("pk", "graph")
    search_fields = ("user__email",)
    search_help_text = "The id of a run or graph, or part of an email address"
    actions = ("stop", "unshare")
    fieldsets = (
        (None, {"fields": ("id", "user", "graph_link", "parent", "status", "error_code", "error", "stalled")}),
        ("Picture", {"fields": ("picture",)}),
        ("Values", {"fields": ("shown_inputs", "shown_masks", "credential_inputs")}),
        ("Newest activations", {"fields": ("activations",)}),
        ("Newest events", {"fields": ("events",)}),
        ("Times", {"fields": ("created_at", "queued_at", "started_at", "ended_at", "wake_at", "cancel_requested_at")}),
        ("Sharing", {"fields": ("shared_at",)}),
        (
            "Engine",
            {
                "fields": (
                    "node_budget", "deadline_at", "preset_id", "trigger_key", "fence", "lease_owner", "lease_until",
                    "claims_without_progress", "head_seq",
                ),
                "classes": ("collapse",),
            },
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[GraphExecution]:
        """The runs with the names of their graphs, and without the values that may be long."""
        versions = GraphVersion.objects.filter(graph=OuterRef("graph"), version=OuterRef("graph_version"))
        runs: QuerySet[GraphExecution] = super().get_queryset(request)
        return runs.annotate(name_of_graph=Subquery(versions.values("name"))).defer("inputs", "nodes_input_masks")

    @admin.action(description="Stop the selected runs", permissions=["stop"])
    def stop(self, request: HttpRequest, queryset: QuerySet[GraphExecution]) -> None:
        """Ask the selected runs, and what they started, to end."""
        stopped = 0
        for run_id in queryset.values_list("pk", flat=True):
            try:
                services.stop_run(run_id)
                stopped += 1
            except DomainError as error:
                self.message_user(request, f"{run_id}: {error.message}", messages.ERROR)
        self.message_user(request, f"{stopped} runs have ended or will within moments.")

    @admin.action(description="Share the selected runs no longer", permissions=["stop"])
    def unshare(self, request: HttpRequest, queryset: QuerySet[GraphExecution]) -> None:
        """Take back the links to the selected runs."""
        unshared = [run for run in queryset if sharing.unshare(run.pk, by=cast(User, request.user).pk)]
        for run in unshared:
            self.log_change(request, run, "Took back the link to it.")
        self.message_user(request, f"The links to {len(unshared)} runs lead nowhere now.")

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    @admin.display(description="run", ordering="pk")
    def short_id(self, run: GraphExecution) -> str:
        """The part of its id that tells it from others."""
        return short_id(run.pk)

    @admin.display(description="graph", ordering="name_of_graph")
    def graph_name(self, run: GraphExecution) -> str:
        """Which version of which graph it runs."""
        return f"{getattr(run, 'name_of_graph', None) or short_id(run.graph_id)} v{run.graph_version}"

    @admin.display(description="nodes", ordering="node_count")
    def nodes(self, run: GraphExecution) -> str:
        """How many activations have ended, and how many of them failed."""
        return f"{run.node_count}, {run.node_error_count} failed" if run.node_error_count else str(run.node_count)

    @admin.display(description="duration")
    def took(self, run: GraphExecution) -> str:
        """How long it ran, or runs by now."""
        return _duration(run.started_at, run.ended_at)

    @admin.display(description="graph")
    def graph_link(self, run: GraphExecution) -> str:
        """The way to its graph."""
        return link_to("graphs_graph", run.graph_id, self.graph_name(run))

    @admin.display(description="picture")
    def picture(self, run: GraphExecution) -> str:
        """The run as it is now. As an image, so that nothing in it can act on the page."""
        picture = base64.b64encode(picture_of(run).encode()).decode()
        return format_html(
            '<div class="sideways"><img alt="The graph of the run" src="data:image/svg+xml;base64,{}"></div>', picture
        )

    @admin.display(description="inputs")
    def shown_inputs(self, run: GraphExecution) -> str:
        """The inputs, long values cut."""
        return shown_value(run.inputs)

    @admin.display(description="input masks")
    def shown_masks(self, run: GraphExecution) -> str:
        """The masks, long values cut."""
        return shown_value(run.nodes_input_masks)

    @admin.display(description="newest activations")
    def activations(self, run: GraphExecution) -> str:
        """What the nodes did last, and the beginning of what they gave."""
        found = NodeExecution.objects.filter(run=run.pk).defer("input_data").order_by("-started_at", "-pk")
        nodes = list(found[:MOST_ROWS])
        titles = _titles(run)
        outputs = _first_outputs(run, nodes)
        return _table(
            ("node", "block", "status", "started", "duration", "outputs", "error"),
            [
                (
                    link_to("executions_nodeexecution", node.pk, titles.get(node.node_id, short_id(node.node_id))),
                    friendly(block_name(node.block_id)),
                    node.status if node.attempt == 1 else f"{node.status}, attempt {node.attempt}",
                    _time(node.started_at),
                    _duration(node.started_at, node.ended_at),
                    _lines(outputs.get(node.pk, []), node.output_count),
                    previews.preview(node.error, 200),
                )
                for node in nodes
            ],
        )

    @admin.display(description="newest events")
    def events(self, run: GraphExecution) -> str:
        """What happened last."""
        events = list(Event.objects.filter(run=run.pk).order_by("-seq")[:MOST_ROWS])
        ids = {event.node_execution_id for event in events if event.node_execution_id}
        node_ids = dict(NodeExecution.objects.filter(pk__in=ids).values_list("pk", "node_id"))
        titles = _titles(run)

        def node(pk: UUID | None) -> str:
            if pk is None:
                return ""
            return link_to("executions_nodeexecution", pk, titles.get(node_ids.get(pk, pk), short_id(pk)))

        return _table(
            ("seq", "kind", "at", "node", "outputs"),
            [(row.seq, row.kind, _time(row.at), node(row.node_execution_id), row.outputs or "") for row in events],
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Every field of the page."""
        return [str(name) for _, section in self.fieldsets for name in section["fields"]]


@admin.register(NodeExecution)
class NodeExecutionAdmin(ExecutionAdmin):
    """See what a node was given and what it gave."""

    list_display = ("short_id", "block", "shown_run", "status", "attempt", "output_count", "started_at", "took")
    list_filter = ("status",)
    search_fields = ("run__pk",)
    search_help_text = "The id of a run or activation"
    fields = (
        "id", "shown_run", "node_id", "block", "ordinal", "status", "attempt", "shown_input", "shown_outputs",
        "error", "waits", "started_at", "ended_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Only ids can be looked for."""
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return (queryset if not search_term.strip() else queryset.none()), False
        by_run, by_id = queryset.filter(run=wanted), queryset.filter(pk=wanted)
        return by_run | by_id, False

    def get_queryset(self, request: HttpRequest) -> QuerySet[NodeExecution]:
        """The activations without the values that may be long."""
        nodes: QuerySet[NodeExecution] = super().get_queryset(request)
        return nodes.defer("input_data")

    @admin.display(description="activation", ordering="pk")
    def short_id(self, node: NodeExecution) -> str:
        """The part of its id that tells it from others."""
        return short_id(node.pk)

    @admin.display(ordering="block_id")
    def block(self, node: NodeExecution) -> str:
        """The name of its block."""
        return friendly(block_name(node.block_id))

    @admin.display(description="duration")
    def took(self, node: NodeExecution) -> str:
        """How long it took, or takes by now."""
        return _duration(node.started_at, node.ended_at)

    @admin.display(description="run", ordering="run")
    def shown_run(self, node: NodeExecution) -> str:
        """The way to its run."""
        return link_to("executions_graphexecution", node.run_id, short_id(node.run_id))

    @admin.display(description="input")
    def shown_input(self, node: NodeExecution) -> str:
        """What it was given, long values cut."""
        return shown_value(node.input_data)

    @admin.display(description="first outputs")
    def shown_outputs(self, node: NodeExecution) -> str:
        """What it gave first, long values cut."""
        outputs = NodeOutput.objects.filter(run=node.run_id, node_execution=node.pk).order_by("ordinal")[:MOST_ROWS]
        return _table(("pin", "value"), [(output.pin, shown_value(output.value)) for output in outputs])


def shown_value(value: Any) -> SafeString:
    """A value as JSON, cut when it is long."""
    return format_html("<pre>{}</pre>", json.dumps(previews.preview(value), indent=2, ensure_ascii=False))


def _table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> SafeString:
    head = format_html_join("", "<th>{}</th>", ((title,) for title in titles))
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    return format_html(
        '<div class="sideways"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>', head, body
    )


def _titles(run: GraphExecution) -> Mapping[UUID, str]:
    """What to call the nodes of a run."""
    nodes = load_definition(run.graph_id, run.graph_version).nodes
    return {node.id: title_of(node, block_name(node.block_id)) for node in nodes}


def _first_outputs(run: GraphExecution, nodes: Iterable[NodeExecution]) -> dict[UUID, list[str]]:
    """The beginnings of the first outputs of some activations of a run."""
    start = RawSQL("left(value #>> '{}', %s)", [_MOST_CHARACTERS + 1], output_field=CharField())
    rows = NodeOutput.objects.filter(run=run.pk, node_execution__in=nodes, ordinal__lt=_MOST_OUTPUTS)
    outputs: dict[UUID, list[str]] = {}
    for pk, pin, text in rows.order_by("ordinal").values_list("node_execution_id", F("pin"), start):
        is_whole = text is None or len(text) <= _MOST_CHARACTERS
        shown = text if is_whole else f"{text[:_MOST_CHARACTERS]}…"
        outputs.setdefault(pk, []).append(f"{pin}: {'null' if shown is None else shown}")
    return outputs


def _lines(shown: list[str], count: int) -> SafeString:
    lines = shown if count <= len(shown) else [*shown, f"and {count - len(shown)} more"]
    return format_html_join("", '<div class="values">{}</div>', ((line,) for line in lines))


def short_id(pk: UUID) -> str:
    """The end of an id: the ids of one minute all begin the same."""
    return f"…{str(pk)[-8:]}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def _duration(start: datetime | None, end: datetime | None) -> str:
    return duration(((end or datetime.now(UTC)) - start).total_seconds()) if start else ""
