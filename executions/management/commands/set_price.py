"""`manage.py set_price`: what a block costs from now on."""

from argparse import ArgumentParser, ArgumentTypeError
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from credits.kinds import CREDIT, MOST_CREDITS, PER
from credits.models import PriceEntry
from credits.price_lists import Entry, set_price
from executions.prices import priceable


class Command(BaseCommand):
    """Replace the prices of a block, or of a provider, by one."""

    help = "Say what a block costs in runs that start from now on. Several prices, with filters: in the admin site."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("block", help="the name or id of a block, or provider:NAME for all blocks of a provider")
        parser.add_argument("credits", type=_credits, nargs="?", help="how much; without it, what the block declares")
        parser.add_argument("--per", choices=PER, default="run", help="for each what (default: run)")

    def handle(self, *args: Any, block: str, credits: int | None, per: str, **options: Any) -> str:
        """Publish a new version of the price list; raises `CommandError` when there is no such block or provider."""
        name, called = _priceable(block, is_taken_off=credits is None)
        price = None if credits is None else Entry(credits, per)
        version = set_price(name, price, made_by="manage.py set_price", called=called)
        return f"{version}. Running workers and servers know it within a second."


def _priceable(block: str, *, is_taken_off: bool) -> tuple[str, str]:
    """What the price stands under in the list, and what to call it.

    A price of what is not installed any more can be taken off.
    """
    names = priceable()
    for name, called in names.items():
        if block in (name, called):
            return name, called
    if is_taken_off and PriceEntry.objects.filter(block=block).exists():
        return block, block
    if not block.startswith("provider:"):
        close = get_close_matches(block, names.values(), n=3)
        meant = f" did you mean {' or '.join(close)}?" if close else ""
        raise CommandError(f"There is no block {block!r};{meant} `manage.py list_blocks` names them all")
    providers = ", ".join(name for name in names if name.startswith("provider:"))
    raise CommandError(f"There are no blocks of {block}; there are some of {providers}")


def _credits(text: str) -> int:
    """Credits as micro-credits."""
    try:
        amount = Decimal(text) * CREDIT
    except InvalidOperation:
        raise ArgumentTypeError(f"{text!r} is no number of credits") from None
    if not amount.is_finite() or not 0 <= amount <= MOST_CREDITS * CREDIT or amount != int(amount):
        raise ArgumentTypeError(f"a price is 0 to {MOST_CREDITS} credits in steps of a millionth, not {text}")
    return int(amount)
