"""Presets in the admin site: to look at."""

from django.contrib import admin

from core.admin import ReadOnlyAdmin
from library.models import Preset


@admin.register(Preset)
class PresetAdmin(ReadOnlyAdmin):
    """See who keeps what, and what starts it; values may be private and are not shown."""

    list_display = ("name", "user", "graph_id", "graph_version", "webhook_id", "is_active", "is_deleted", "created_at")
    list_filter = ("is_active", "is_deleted", ("webhook", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("user",)
    ids = ("pk", "graph", "webhook")
    search_fields = ("user__email", "name")
    search_help_text = "The id of a preset, graph or webhook, or part of a name or an email address"
    fields = (
        "id", "name", "description", "user", "graph_id", "graph_version", "names_of_inputs", "names_of_credentials",
        "webhook_id", "is_active", "is_deleted", "created_at", "updated_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="inputs")
    def names_of_inputs(self, preset: Preset) -> str:
        """Which inputs have a value."""
        return ", ".join(preset.inputs)

    @admin.display(description="credentials")
    def names_of_credentials(self, preset: Preset) -> str:
        """Which credentials are chosen."""
        return ", ".join(preset.credentials)
