"""The app's name."""

from django.apps import AppConfig


class BuilderConfig(AppConfig):
    """What the graph editor offers to place."""

    name = "builder"
