"""Runs in the admin site: to look at, and to stop."""

import base64
import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.errors import DomainError
from executions import previews, services
from executions.models import Event, GraphExecution, NodeExecution, NodeOutput
from executions.reading import picture_of

MOST_ROWS = 100
_MOST_COUNTED = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than somebody would page, for counting a big table takes seconds."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or 10,000 when there are more."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin's are always query sets
        return rows[:_MOST_COUNTED].count()


class LookOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that the engine writes and nobody else."""

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    ordering = ("-pk",)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False


@admin.register(GraphExecution)
class GraphExecutionAdmin(LookOnly):
    """Find runs, see what they did, stop them."""

    list_display = ("id", "user", "graph_version", "status", "node_count", "node_error_count", "created_at", "ended_at")
    list_filter = ("status", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    search_help_text = "The id of a run or graph, or part of an email address"
    actions = ("stop",)
    fieldsets = (
        (None, {"fields": ("id", "user", "graph_id", "graph_version", "parent", "status", "error_code", "error")}),
        ("Picture", {"fields": ("picture",)}),
        ("Values", {"fields": ("shown_inputs", "shown_masks", "credential_inputs")}),
        ("Activations", {"fields": ("activations",)}),
        ("Events", {"fields": ("events",)}),
        ("Times", {"fields": ("created_at", "queued_at", "started_at", "ended_at", "wake_at", "cancel_requested_at")}),
        (
            "Engine",
            {
                "fields": ("trigger_key", "fence", "lease_owner", "lease_until", "claims_without_progress", "head_seq"),
                "classes": ("collapse",),
            },
        ),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id is looked up as one; anything else is part of an email address."""
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(pk=wanted) | queryset.filter(graph=wanted), False

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

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    @admin.display(description="picture")
    def picture(self, run: GraphExecution) -> str:
        """The run as it is now. As an image, so that nothing in it can act on the page."""
        picture = base64.b64encode(picture_of(run).encode()).decode()
        return format_html('<img alt="" style="max-width: 100%" src="data:image/svg+xml;base64,{}">', picture)

    @admin.display(description="inputs")
    def shown_inputs(self, run: GraphExecution) -> str:
        """The inputs, long values cut."""
        return _shown(run.inputs)

    @admin.display(description="input masks")
    def shown_masks(self, run: GraphExecution) -> str:
        """The masks, long values cut."""
        return _shown(run.nodes_input_masks)

    @admin.display(description="newest activations")
    def activations(self, run: GraphExecution) -> str:
        """The newest activations."""
        nodes = NodeExecution.objects.filter(run=run.pk).order_by("-started_at", "-pk")[:MOST_ROWS]
        return _table(
            ("activation", "node", "status", "attempt", "outputs", "started", "ended", "error"),
            [
                (
                    _link("nodeexecution", node.pk),
                    node.node_id,
                    node.status,
                    node.attempt,
                    node.output_count,
                    node.started_at,
                    node.ended_at or "",
                    previews.preview(node.error, 200),
                )
                for node in nodes
            ],
        )

    @admin.display(description="newest events")
    def events(self, run: GraphExecution) -> str:
        """The newest events."""
        rows = Event.objects.filter(run=run.pk).order_by("-seq")[:MOST_ROWS]
        return _table(
            ("seq", "kind", "at", "activation", "outputs"),
            [(row.seq, row.kind, row.at, row.node_execution_id or "", row.outputs) for row in rows],
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Every field of the page."""
        return [str(name) for _, section in self.fieldsets for name in section["fields"]]


@admin.register(NodeExecution)
class NodeExecutionAdmin(LookOnly):
    """See what a node was given and what it gave."""

    list_display = ("id", "run_id", "node_id", "status", "attempt", "output_count", "started_at", "ended_at")
    list_filter = ("status",)
    search_fields = ("run__pk",)
    search_help_text = "The id of a run, node or activation"
    fields = (
        "id", "shown_run", "node_id", "block_id", "ordinal", "status", "attempt", "shown_input", "shown_outputs",
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

    @admin.display(description="run")
    def shown_run(self, node: NodeExecution) -> str:
        """The way to its run."""
        return _link("graphexecution", node.run_id)

    @admin.display(description="input")
    def shown_input(self, node: NodeExecution) -> str:
        """What it was given, long values cut."""
        return _shown(node.input_data)

    @admin.display(description="first outputs")
    def shown_outputs(self, node: NodeExecution) -> str:
        """What it gave first, long values cut."""
        outputs = NodeOutput.objects.filter(run=node.run_id, node_execution=node.pk).order_by("ordinal")[:MOST_ROWS]
        return _table(("pin", "value"), [(output.pin, _shown(output.value)) for output in outputs])


def _shown(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(previews.preview(value), indent=2, ensure_ascii=False))


def _table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> SafeString:
    head = format_html_join("", "<th>{}</th>", ((title,) for title in titles))
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _link(model: str, pk: UUID) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:executions_{model}_change", args=[pk]), pk)
