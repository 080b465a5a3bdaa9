"""The app's name and settings."""

from importlib import import_module

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """What people may spend, and what runs cost them."""

    name = "credits"

    def ready(self) -> None:
        """Bring the checks and the rest of the admin pages in."""
        import_module("credits.system_checks")
        import_module("credits.admin_usage")
        import_module("credits.admin_payments")
