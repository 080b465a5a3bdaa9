"""The integrations app."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """Webhooks and what comes in by them."""

    name = "integrations"
    default_auto_field = "django.db.models.BigAutoField"
