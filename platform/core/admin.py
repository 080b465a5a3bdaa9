"""What the admin pages of every app may have in common."""

from functools import reduce
from operator import or_
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


class ReadOnly:
    """Rows to look at: only services write them."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may."""
        return False


class ReadOnlyAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Lists of rows to look at, newest first. The fields `ids` are what a search for an id compares with it."""

    ids: ClassVar[tuple[str, ...]] = ()
    list_per_page = 50
    show_full_result_count = False
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows with this id in one of the fields `ids`; for anything else what `search_fields` find."""
        wanted = as_id(search_term)
        if wanted is None or not self.ids:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(reduce(or_, (Q((field, wanted)) for field in self.ids))), False


def as_id(search_term: str) -> UUID | None:
    """The id that is searched for; None when it is something else."""
    try:
        return UUID(search_term.strip())
    except ValueError:
        return None


def link_to(page: str, pk: UUID | str, text: str) -> SafeString:
    """The way to a row's page."""
    return format_html('<a href="{}" title="{}">{}</a>', reverse(f"admin:{page}_change", args=[pk]), pk, text)
