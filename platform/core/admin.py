"""What the admin pages of every app may have in common."""

from typing import Any
from uuid import UUID

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


def link_to(page: str, pk: UUID | str, text: str) -> SafeString:
    """The way to a row's page."""
    return format_html('<a href="{}" title="{}">{}</a>', reverse(f"admin:{page}_change", args=[pk]), pk, text)
