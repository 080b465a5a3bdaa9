"""What operators want blocks to cost, in versions that never change."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import connection, transaction

from core import json
from credits.errors import shown
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
    with _next_version() as newest:
        for entry in PriceEntry.objects.order_by("block", "position"):
            prices.setdefault(entry.block, []).append(_document(entry))
        declared = newest.declared if newest else {}
        made = PriceList.objects.create(prices=prices, declared=declared, made_by=made_by, change=change)
    forget()
    return made


def declare(prices: Entries) -> PriceList | None:
    """Make what blocks declare by now the next version, unless the newest has the same; free ones have no entries.

    Free ones count: one that is not in a list would cost what a later release declares.
    """
    declared = {block: [_document(entry) for entry in entries] for block, entries in prices.items()}
    with _next_version() as newest:
        if newest is not None and newest.declared == json.decode(json.encode(declared)):
            return None
        listed = newest.prices if newest else {}
        made = PriceList.objects.create(
            prices=listed, declared=declared, made_by="migrate", change="prices declared in code"
        )
    forget()
    return made


@contextmanager
def _next_version() -> Iterator[PriceList | None]:
    """The newest version while nobody else makes the next one, which follows in the same transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE credits_pricelist IN SHARE ROW EXCLUSIVE MODE")
        yield PriceList.objects.order_by("-pk").first()


def _document(entry: Entry | PriceEntry) -> dict[str, Any]:
    return {"amount": entry.amount, "per": entry.per, "match": entry.match}


def set_price(block: str, price: Entry | None, *, made_by: str, called: str = "") -> PriceList:
    """Let `price` be all that a block, or `provider:<name>`, costs, or take its prices off the list; publish that.

    The list says what was changed; there the block is `called` so.
    """
    with transaction.atomic():
        PriceEntry.objects.filter(block=block).delete()
        if price is None:
            return publish(made_by, f"deleted: {called or block}")
        PriceEntry.objects.create(block=block, amount=price.amount, per=price.per, match=price.match)
        return publish(made_by, f"set: {shown(price.amount)} credits per {price.per} of {called or block}")


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


def entries_of(version: int) -> tuple[Entries, Entries]:
    """What operators had set, by block id or `provider:<name>`, and what blocks declared; nothing for `NO_LIST`."""
    if version == NO_LIST:
        return {}, {}
    return _entries_of(version)


@lru_cache(maxsize=100)
def _entries_of(version: int) -> tuple[Entries, Entries]:
    listed, declared = PriceList.objects.values_list("prices", "declared").get(pk=version)
    return _entries(listed), _entries(declared)


def _entries(documents: Mapping[str, Iterable[Mapping[str, Any]]]) -> Entries:
    return {
        block: tuple(
            Entry(document["amount"], document["per"], document["match"] or {})
            for document in listed
            # Lists that were published before filters were checked stay as they are.
            if isinstance(document["match"] or {}, dict)
        )
        for block, listed in documents.items()
    }
