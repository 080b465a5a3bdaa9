"""What operators want blocks to cost, in versions that never change."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import transaction

from credits.models import PriceEntry, PriceList

# The version of a run that began before there was any list.
NO_LIST = 0
_SECONDS = 1.0
_newest = (NO_LIST, 0.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One price: micro-credits per run, second, byte, token or item, where `match` is a subset of the inputs."""

    amount: int
    per: str = "run"
    match: Mapping[str, Any] = field(default_factory=dict)


Entries = Mapping[str, tuple[Entry, ...]]


def publish(made_by: str, change: str) -> PriceList:
    """Make what operators have entered by now the next version: runs that start from now on have these prices."""
    prices: dict[str, list[dict[str, Any]]] = {}
    with transaction.atomic():
        for entry in PriceEntry.objects.order_by("block", "position"):
            document = {"amount": entry.amount, "per": entry.per, "match": entry.match}
            prices.setdefault(entry.block, []).append(document)
        made = PriceList.objects.create(prices=prices, made_by=made_by, change=change)
    forget()
    return made


def set_price(block: str, price: Entry | None, *, made_by: str) -> PriceList:
    """Let `price` be all that a block, or `provider:<name>`, costs, or take its prices off the list; publish that."""
    with transaction.atomic():
        PriceEntry.objects.filter(block=block).delete()
        if price is None:
            return publish(made_by, f"deleted: {block}")
        entry = PriceEntry.objects.create(block=block, amount=price.amount, per=price.per, match=price.match)
        return publish(made_by, f"set: {entry}")


def newest() -> int:
    """The version that runs start with now; a change elsewhere is seen within a second."""
    global _newest
    version, until = _newest
    if time.monotonic() >= until:
        version = PriceList.objects.order_by("-pk").values_list("pk", flat=True).first() or NO_LIST
        _newest = version, time.monotonic() + _SECONDS
    return version


def forget() -> None:
    """Look anew which version is the newest."""
    global _newest
    _newest = (NO_LIST, 0.0)


def entries_of(version: int) -> Entries:
    """What a version says, by block id or `provider:<name>`; nothing for `NO_LIST`."""
    if version == NO_LIST:
        return {}
    return _entries_of(version)


@lru_cache(maxsize=100)
def _entries_of(version: int) -> Entries:
    documents = PriceList.objects.values_list("prices", flat=True).get(pk=version)
    return {block: tuple(_entries(listed)) for block, listed in documents.items()}


def _entries(listed: Iterable[Mapping[str, Any]]) -> Iterable[Entry]:
    return (Entry(document["amount"], document["per"], document["match"]) for document in listed)
