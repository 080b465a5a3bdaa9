"""Names that are on the wire and in the books, and the unit that money is counted in."""

from enum import StrEnum

from core import units

CREDIT = units.CREDIT
MOST_CREDITS = units.MOST_CREDITS
MOST = MOST_CREDITS * CREDIT


class Mode(StrEnum):
    """How the platform is paid for: not at all, by a refill each month, or by what people buy."""

    DISABLED = "disabled"
    MONTHLY = "monthly"
    PAID = "paid"


class Kind(StrEnum):
    """What a transfer was made for."""

    TOP_UP = "TOP_UP"
    USAGE = "USAGE"
    GRANT = "GRANT"
    REFUND = "REFUND"
    CARD_CHECK = "CARD_CHECK"


class Party(StrEnum):
    """Between whom credits move: a user, or one of the platform's own accounts.

    ISSUANCE    what was given away, or taken back by an administrator
    CLEARING    what was bought through the payment provider
    REVENUE     what was used up
    REFUNDS     what was paid back, or lost in a dispute
    """

    USER = "user"
    ISSUANCE = "issuance"
    CLEARING = "clearing"
    REVENUE = "revenue"
    REFUNDS = "refunds"


# The other side of a user's transfers.
PARTY_OF = {
    Kind.TOP_UP: Party.CLEARING,
    Kind.USAGE: Party.REVENUE,
    Kind.GRANT: Party.ISSUANCE,
    Kind.REFUND: Party.REFUNDS,
    Kind.CARD_CHECK: Party.CLEARING,
}
# What prices are for.
PER = ("run", "second", "byte", "token", "item")
