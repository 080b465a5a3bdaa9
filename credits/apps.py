"""The app's name and settings."""

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """What people may spend, and what runs cost them."""

    name = "credits"
