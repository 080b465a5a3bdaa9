"""The app's name and settings."""

from django.apps import AppConfig


class ExecutionsConfig(AppConfig):
    """Runs of graphs, from the request to the last event."""

    name = "executions"
