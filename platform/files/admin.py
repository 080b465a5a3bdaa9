"""Files in the admin site: to find, and to delete."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import ReadOnlyAdmin
from files.models import StoredFile
from files.services import remove


@admin.register(StoredFile)
class StoredFileAdmin(ReadOnlyAdmin):
    """See who keeps what and until when; contents are not shown."""

    list_display = ("name", "user", "media_type", "size", "state", "expires_at", "created_at")
    list_filter = ("state", "created_at", "expires_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "name", "=id")
    search_help_text = "The id of a file, or part of its name or of an email address"
    actions = ("let_go",)
    fields = (
        "id", "name", "user", "media_type", "size", "sha256", "state", "expires_at", "run_id", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.action(description="Delete the selected files", permissions=["let_go"])
    def let_go(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        """Delete them with their contents."""
        self.message_user(request, f"{remove(queryset.order_by('pk'))} files are deleted.")

    def has_let_go_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)
