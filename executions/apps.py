"""The app's name and settings."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.core.exceptions import FieldDoesNotExist
from django.db.models.signals import post_migrate


class ExecutionsConfig(AppConfig):
    """Runs of graphs, from the request to the last event."""

    name = "executions"

    def ready(self) -> None:
        """Register the pages of the admin site that have a module of their own, and give lower floors what they ask."""
        import_module("executions.admin_prices")
        import_module("executions.admin_reviews")
        import_module("executions.admin_schedules")
        # The apps have no models before they are ready.
        from executions import prices
        from executions.presets import PresetRuns
        from executions.workspace import RunFiles
        from graphs.blocks import costs, files
        from library import runs

        files.connect(RunFiles())
        costs.ask(prices.shown)
        runs.connect(PresetRuns())
        post_migrate.connect(_record_prices, sender=self)


def _record_prices(**state: Any) -> None:
    """Record the prices that blocks declare, once the tables are those of this release."""
    from executions import prices

    if "apps" in state:
        try:
            state["apps"].get_model("credits", "PriceList")._meta.get_field("declared")
        except (LookupError, FieldDoesNotExist):
            return
    prices.record_declared()
