"""`manage.py give_credits`: credits from whoever runs the platform."""

from argparse import ArgumentParser
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from core.errors import DomainError
from credits import ledger
from credits.balances import mode
from credits.errors import shown
from credits.kinds import CREDIT, Kind, Mode


class Command(BaseCommand):
    """Give a user credits."""

    help = "Give a user credits. Over REST and in the admin site administrators can, with their names on record."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", help="whose they will be")
        parser.add_argument("credits", type=int, help="how many")
        parser.add_argument("--reason", required=True, help="what for, as the user's history will say")

    def handle(self, *args: Any, email: str, credits: int, reason: str, **options: Any) -> str:
        """Give them; raises `CommandError` when there is no such user or credits are switched off."""
        if mode() is Mode.DISABLED:
            raise CommandError("Credits are disabled. Set TASKLOOM_CREDITS to monthly or paid")
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise CommandError(f"Nobody has the email {email}")
        if not reason.strip():
            raise CommandError("Say what the credits are for: --reason")
        try:
            posted = ledger.credit(
                user.pk, credits * CREDIT, kind=Kind.GRANT, key=f"adjust:{uuid4()}", reason=reason.strip()
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        return f"{user.email} has {shown(posted.balance)} credits now"
