"""The wiring as a Django app: it brings the commands and the system checks."""

from django.apps import AppConfig


class WiringConfig(AppConfig):
    """Registers the system checks."""

    name = "config"

    def ready(self) -> None:
        """Load the checks, which register themselves."""
        from config import deploy_checks, system_checks  # noqa: F401
