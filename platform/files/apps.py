"""The files app."""

from importlib import import_module

from django.apps import AppConfig


class FilesConfig(AppConfig):
    """Files of people and of their runs."""

    name = "files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let `manage.py check` look at how files are kept."""
        import_module("files.system_checks")
