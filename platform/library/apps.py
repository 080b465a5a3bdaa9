"""The app's name."""

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    """What people keep to run again."""

    name = "library"
