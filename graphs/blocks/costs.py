"""What uses of blocks cost, as clients are told.

Operators may set other prices than blocks declare. Those are kept where runs are paid for, above this app, which is
handed what to ask.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from graphs.blocks.base import Block, Price

PricesOf = Callable[[Block], Sequence[Price]]


def _declared() -> PricesOf:
    return lambda block: block.prices


_source: Callable[[], PricesOf] = _declared


def ask(source: Callable[[], PricesOf]) -> None:
    """From now on `source` says what the prices are; it is asked once for each answer."""
    global _source
    _source = source


def prices_now() -> PricesOf:
    """What tells the prices of a block as they are now."""
    return _source()


def as_costs(prices: Sequence[Price]) -> list[dict[str, Any]]:
    """Prices as the catalogue shows them."""
    return [
        {"cost_amount": _number(price.amount), "cost_filter": dict(price.match), "cost_type": price.per}
        for price in prices
    ]


def _number(amount: int | Decimal) -> int | float:
    """Whole credits as such."""
    return int(amount) if amount == int(amount) else float(amount)
