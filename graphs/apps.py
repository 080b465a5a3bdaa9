"""The graphs app."""

from django.apps import AppConfig
from django.core.checks import register


class GraphsConfig(AppConfig):
    """What people draw, and the blocks they draw with."""

    name = "graphs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let `manage.py check` look at the blocks."""
        from graphs import system_checks

        register(system_checks.blocks_are_usable)
