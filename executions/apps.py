"""The app's name and settings."""

from importlib import import_module

from django.apps import AppConfig


class ExecutionsConfig(AppConfig):
    """Runs of graphs, from the request to the last event."""

    name = "executions"

    def ready(self) -> None:
        """Register the pages of the admin site that have a module of their own, and give blocks files and prices."""
        import_module("executions.admin_reviews")
        import_module("executions.admin_schedules")
        # The apps have no models before they are ready.
        from executions import prices
        from executions.workspace import RunFiles
        from graphs.blocks import costs, files

        files.connect(RunFiles())
        costs.ask(prices.shown)
