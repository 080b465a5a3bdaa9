"""Presets in the admin site: to look at."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import ReadOnly
from library.models import Preset


@admin.register(Preset)
class PresetAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """See who keeps what, and what starts it; values may be private and are not shown."""

    list_display = ("name", "user", "graph_id", "graph_version", "webhook_id", "is_active", "is_deleted", "created_at")
    list_filter = ("is_active", "is_deleted", ("webhook", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("user",)
    list_per_page = 50
    show_full_result_count = False
    ordering = ("-pk",)
    search_fields = ("user__email", "name")
    search_help_text = "The id of a preset, graph or webhook, or part of a name or an email address"
    fields = (
        "id", "name", "description", "user", "graph_id", "graph_version", "names_of_inputs", "names_of_credentials",
        "webhook_id", "is_active", "is_deleted", "created_at", "updated_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id is that of a preset, a graph or a webhook; anything else is part of a name or an email address."""
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        found = queryset.filter(pk=wanted) | queryset.filter(graph=wanted) | queryset.filter(webhook=wanted)
        return found, False

    @admin.display(description="inputs")
    def names_of_inputs(self, preset: Preset) -> str:
        """Which inputs have a value."""
        return ", ".join(preset.inputs)

    @admin.display(description="credentials")
    def names_of_credentials(self, preset: Preset) -> str:
        """Which credentials are chosen."""
        return ", ".join(preset.credentials)
