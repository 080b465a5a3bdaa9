"""`manage.py settle_payments`: ask Stripe about payments whose news got lost, without waiting for beat."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from credits.models import TopUp, TopUpKind
from credits.payments import auto, top_ups
from credits.payments.settling import settle_payments


class Command(BaseCommand):
    """Ask Stripe about payments whose news got lost."""

    help = "Ask Stripe about payments whose news got lost, and credit what was paid."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--top-up", type=UUID, help="only this top-up, however young it is")

    def handle(self, *args: Any, top_up: UUID | None, **options: Any) -> str | None:
        """Settle; raises `CommandError` when there is no such top-up or Stripe cannot be asked."""
        if top_up is None:
            return f"{settle_payments()} looked at"
        row = TopUp.objects.filter(pk=top_up).first()
        if row is None:
            raise CommandError(f"There is no top-up {top_up}")
        try:
            (top_ups.settle_checkout if row.kind == TopUpKind.CHECKOUT else auto.settle)(row)
        except DomainError as error:
            raise CommandError(f"{error.message}. {error.hint}") from None
        row.refresh_from_db()
        return str(row)
