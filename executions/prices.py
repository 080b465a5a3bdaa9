"""What a use of a block costs: prices of its code, or of the operators' list that its run began with."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from credits import price_lists
from credits.kinds import CREDIT, MOST
from credits.price_lists import Entries, Entry
from graphs.blocks.base import Block, Price
from graphs.blocks.registry import BLOCKS
from graphs.definition import NodeDefinition
from graphs.pinouts import pinout

# For every so many activations of a run.
FEE = CREDIT
ACTIVATIONS_PER_FEE = 100


class Prices:
    """The prices of one version of the list, and those in the code of blocks that were not known then."""

    def __init__(self, listed: Entries, declared: Entries) -> None:
        self._listed = listed
        self._declared = declared
        self._known: dict[str, tuple[Entry, ...]] = {}

    def of(self, block: Block) -> tuple[Entry, ...]:
        """All entries of a block, in their order; empty if it is free."""
        entries = self._known.get(block.id)
        if entries is None:
            entries = self._known[block.id] = self._find(block)
        return entries

    def recorded(self, block_id: str) -> tuple[Entry, ...]:
        """All entries that the list has under the id of a block, whether or not there still is such a block."""
        own = self._listed.get(block_id)
        return self._declared.get(block_id, ()) if own is None else own

    def _find(self, block: Block) -> tuple[Entry, ...]:
        own = self._listed.get(block.id)
        if own is None:
            own = self._declared.get(block.id, _declared_by(block)) or None
        if own is None and block.provider:
            own = self._listed.get(f"provider:{block.provider}")
        return own or ()


def shown() -> Callable[[Block], Sequence[Price]]:
    """What tells the prices of a block as runs that start now have them."""
    prices = of(price_lists.newest())
    return lambda block: [
        Price(Decimal(entry.amount) / CREDIT, entry.per, entry.match) for entry in prices.of(block) if entry.amount
    ]


def priceable() -> dict[str, str]:
    """What a price can be for, with what to call it: the ids of blocks, then `provider:<name>`."""
    blocks = BLOCKS.all()
    providers = sorted({block.provider for block in blocks if block.provider})
    return {block.id: block.name for block in blocks} | {f"provider:{name}": f"provider:{name}" for name in providers}


def of(version: int) -> Prices:
    """The prices of a version of the list."""
    return Prices(*price_lists.entries_of(version))


def record_declared() -> None:
    """Make a version of the prices in the code of blocks, if they are others than before; runs keep theirs."""
    price_lists.declare({block.id: _declared_by(block) for block in BLOCKS.all()})


def _declared_by(block: Block) -> tuple[Entry, ...]:
    return tuple(Entry(int(price.amount * CREDIT), price.per, price.match) for price in block.prices)


def matching(entries: Iterable[Entry], data: Mapping[str, Any]) -> Entry | None:
    """The first entry whose filter is a subset of a block's inputs; None if the use is free."""
    return next((entry for entry in entries if is_subset(entry.match, data)), None)


def due(entry: Entry, quantity: float) -> int:
    """What so many uses at a price come to, in micro-credits: at most what can be counted."""
    return min(math.ceil(entry.amount * quantity), MOST)


def likely(entries: Iterable[Entry], node: NodeDefinition, linked: Iterable[str]) -> Entry | None:
    """The first entry that can match; linked pins, and credentials that the graph does not name, may get anything."""
    credentials = pinout(BLOCKS.get(node.block_id)).credentials
    unknown = {*linked, *(pin for pin in credentials if not node.input_default.get(pin))}
    known = [{pin: value for pin, value in entry.match.items() if pin not in unknown} for entry in entries]
    return next(
        (entry for entry, match in zip(entries, known, strict=True) if is_subset(match, node.input_default)), None
    )


def is_subset(match: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether each value of a filter is there; one that is missing, null or empty is as good as another such."""
    return not match or all(_fits(wanted, data.get(pin)) for pin, wanted in match.items())


def _fits(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return is_subset(wanted, value)
    return bool(wanted == value) or (_is_empty(wanted) and _is_empty(value))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)
