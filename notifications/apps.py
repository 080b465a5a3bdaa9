"""The app's name and settings."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Telling people what happened."""

    name = "notifications"
