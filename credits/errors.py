"""How moving credits fails."""

from typing import ClassVar

from core.errors import Conflict, DomainError, Invalid, NotFound
from credits.kinds import CREDIT


class InsufficientCredits(DomainError):
    """The balance does not cover this."""

    status: ClassVar[int] = 402
    hint = "Top up, or ask for less."

    def __init__(self, message: str = "", *, balance: int, needed: int) -> None:
        text = message or f"This takes {shown(needed)} credits, and the balance is {shown(balance)}"
        super().__init__(text, balance_microcredits=balance, needed_microcredits=needed)


class KeyBudgetUsedUp(DomainError):
    """Nothing is left of the `max_credits` of this API key: its runs have used them, or set them aside."""

    status: ClassVar[int] = 402
    hint = "PUT /api/api-keys/{key_id}/budget sets another max_credits; another key has its own."


class AmountInvalid(Invalid):
    """An amount is a whole number of micro-credits above 0."""

    hint = "One credit is 1,000,000 micro-credits."


class KeyTaken(Conflict):
    """This key stands for another transfer."""

    hint = "Choose a new key for each transfer; repeat a key only to repeat the same one."


class CreditsDisabled(Conflict):
    """Credits are disabled on this server: nothing is metered, and there is nothing to change."""

    hint = "An operator sets TASKLOOM_CREDITS to monthly or paid."


class NoSuchUser(NotFound):
    """There is no such user."""


class NoSuchStep(Invalid):
    """There is no such step to reward."""

    hint = "`steps` names them all; `manage.py give_reward --help` those with a reward."


class NeedsReason(Invalid):
    """A change of a balance needs a reason."""

    hint = "Say in the comments why."


class NeedsAnother(Conflict):
    """A change this large is made when another administrator approves it; it waits for that in the admin site."""

    hint = "Ask somebody else to approve it under Adjustments."


class NoSuchAdjustment(NotFound):
    """There is no such adjustment."""


class DecidedBefore(Conflict):
    """Somebody has decided this before."""


class LimitInvalid(Invalid):
    """A page of the history has 1 to 1000 lines."""

    hint = "Read on with transaction_time from next_transaction_time."


class PeriodInvalid(Invalid):
    """A period begins before it ends, and is at most a year long."""

    hint = "Send from and to as days, such as 2026-01-31; without them it is the last 30 days."


def shown(amount: int) -> str:
    """Micro-credits as credits, for people."""
    return f"{amount / CREDIT:,.6f}".rstrip("0").rstrip(".")
