"""The graphs app."""

from django.apps import AppConfig


class GraphsConfig(AppConfig):
    """What people draw, and the blocks they draw with."""

    name = "graphs"
    default_auto_field = "django.db.models.BigAutoField"
