"""Transfers at any time."""

import time
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from credits.kinds import PARTY_OF, Kind, Party
from credits.models import Fold, Transfer
from credits.totals import fold_transfers

_numbers = count(1)
_PATIENCE = 20.0


def at(text: str) -> datetime:
    """A moment of UTC, from "2026-01-31 12:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_transfer(user_id: UUID, change: int, when: str | datetime, kind: Kind = Kind.USAGE, **fields: Any) -> Transfer:
    """A transfer as a row: `change` micro-credits to a user, or from them below 0."""
    sides = (PARTY_OF[kind], Party.USER) if change >= 0 else (Party.USER, PARTY_OF[kind])
    values = {"key": f"made:{next(_numbers)}", "metadata": {}, **fields}
    return Transfer.objects.create(
        user_id=user_id,
        debit=sides[0],
        credit=sides[1],
        amount=abs(change),
        kind=kind,
        at=at(when) if isinstance(when, str) else when,
        **values,
    )


def add_up() -> None:
    """Add up all transfers, once the transactions that are under way in other databases of the server have ended."""
    newest = Transfer.objects.latest("id").pk
    deadline = time.monotonic() + _PATIENCE
    fold_transfers()
    while Fold.objects.get().done < newest:
        assert time.monotonic() < deadline, "Something keeps the transfers from being added up"
        time.sleep(0.01)
        fold_transfers()
