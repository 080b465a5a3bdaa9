"""The accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and how they prove who they are."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
