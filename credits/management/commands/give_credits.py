"""`manage.py give_credits`: credits from one of those who run the platform."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from core.errors import DomainError
from credits import ledger
from credits.adjustments import adjust
from credits.errors import NeedsAnother, shown
from credits.kinds import CREDIT


class Command(BaseCommand):
    """Give a user credits, as an administrator does over REST."""

    help = "Give a user credits in the name of an administrator; large amounts wait for another one's approval."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", help="whose they will be")
        parser.add_argument("credits", type=int, help="how many")
        parser.add_argument("--operator", required=True, help="the email of the administrator who gives them")
        parser.add_argument("--reason", required=True, help="what for, as the user's history will say")

    def handle(self, *args: Any, email: str, credits: int, operator: str, reason: str, **options: Any) -> str:
        """Give them; raises `CommandError` when they are not given, also when they wait for another administrator."""
        user, admin = _with_email(email), _with_email(operator)
        if not (admin.is_active and admin.is_superuser):
            raise CommandError(f"{admin.email} is no administrator: name one with --operator")
        try:
            ledger.check_amount(credits * CREDIT)
            posted, _ = adjust(admin, user.pk, credits * CREDIT, reason=reason.strip())
        except NeedsAnother as error:
            raise CommandError(f"{error.message.rstrip('.')}, as adjustment {error.data['adjustment_id']}") from None
        except DomainError as error:
            raise CommandError(f"{error.message.rstrip('.')}. {error.hint}") from None
        return f"{user.email} has {shown(posted.balance)} credits now"


def _with_email(email: str) -> User:
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        raise CommandError(f"Nobody has the email {email}")
    return user
