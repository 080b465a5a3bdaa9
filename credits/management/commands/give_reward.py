"""`manage.py give_reward`: what a step of a user is worth, once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from core.errors import DomainError
from credits.balances import mode
from credits.errors import shown
from credits.kinds import Mode
from credits.rewards import REWARDS, reward


class Command(BaseCommand):
    """Give a user the reward of a step."""

    help = "Give a user the reward of a step, unless they have it. Steps: " + ", ".join(
        f"{step} ({amount})" for step, amount in REWARDS.items() if amount
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", help="whose it will be")
        parser.add_argument("step", help="what for, such as TRIGGER_WEBHOOK")

    def handle(self, *args: Any, email: str, step: str, **options: Any) -> str:
        """Give it; raises `CommandError` when there is no such user or step, or credits are disabled."""
        if mode() is Mode.DISABLED:
            raise CommandError("Credits are disabled. Set TASKLOOM_CREDITS to monthly or paid")
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise CommandError(f"Nobody has the email {email}")
        try:
            posted = reward(user.pk, step)
        except DomainError as error:
            raise CommandError(f"{error.message}. {error.hint}".strip()) from None
        if posted is None:
            return f"There is no reward for {step}"
        return (
            f"{user.email} has {shown(posted.balance)} credits now" if posted.is_new else f"{user.email} has it already"
        )
