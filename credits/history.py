"""What happened to a balance, newest first: what a run used is one line, whatever the number of its nodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, QuerySet, Sum

from credits.kinds import Kind
from credits.models import Transfer
from credits.totals import balances_after

MOST_LINES = 1000
_FIRST_LOOK = 200
_LONGEST_LOOK = 10_000


@dataclass(slots=True)
class Line:
    """A transfer, or all that a run used.

    `change` and `balance`, what there was after it, are in micro-credits. `newest_id` is the transfer, or the run's
    last one; `count` is how many of them there are, `began_at` the time of the first.
    """

    newest_id: int
    kind: Kind
    at: datetime
    key: str = ""
    change: int = 0
    reason: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    run_id: UUID | None = None
    count: int = 1
    began_at: datetime | None = None
    balance: int = 0


def history_of(
    user_id: UUID, *, before: datetime | None = None, kind: Kind | None = None, limit: int = 100
) -> tuple[list[Line], datetime | None]:
    """The newest lines older than `before`, and the time to ask for the next ones with; None behind the last line.

    A line is as old as its newest transfer. There are `limit` lines, and more only where several are of one moment: a
    page never ends between them, so that the time alone tells where the next one begins.
    """
    mine = Transfer.objects.filter(user_id=user_id)
    if kind is not None:
        mine = mine.filter(kind=kind)
    lines: list[Line] = []
    next_time = None
    for line in _lines(mine, before, limit + 1):
        if len(lines) >= limit and line.at != lines[-1].at:
            next_time = lines[-1].at
            break
        lines.append(line)
    _complete(user_id, lines)
    return lines, next_time


def _lines(mine: QuerySet[Transfer], before: datetime | None, first_look: int) -> Iterator[Line]:
    """All lines older than `before`, newest first."""
    order = mine.order_by("-at", "-id").values_list("pk", "at", "run_id", "kind")
    rows = order
    if before is not None:
        rows = rows.filter(at__lt=before)
    look = max(first_look, _FIRST_LOOK)
    seen: set[UUID] = set()
    while found := list(rows.exclude(kind=Kind.USAGE, run_id__in=list(seen))[:look]):
        spent = _spent_by(mine, {run_id for _, _, run_id, kind in found if run_id and kind == Kind.USAGE})
        for pk, at, run_id, kind in found:
            if run_id is None or kind != Kind.USAGE:
                yield Line(pk, Kind(kind), at)
            elif run_id not in seen:
                seen.add(run_id)
                line = _line_of_run(pk, run_id, spent[run_id])
                # One that went on after `before` was on an earlier page.
                if before is None or line.at < before:
                    yield line
        last_id, last_at, _, _ = found[-1]
        rows = order.filter(at__lte=last_at).exclude(at=last_at, id__gte=last_id)
        look = min(look * 2, _LONGEST_LOOK)


def _spent_by(mine: QuerySet[Transfer], run_ids: set[UUID]) -> dict[UUID | None, dict[str, Any]]:
    used = mine.filter(run_id__in=run_ids, kind=Kind.USAGE).order_by()
    sums = used.values("run_id").annotate(spent=Sum("amount"), count=Count("id"), first=Min("at"), last=Max("at"))
    return {row["run_id"]: {**row} for row in sums}


def _line_of_run(newest_id: int, run_id: UUID, spent: dict[str, Any]) -> Line:
    return Line(
        newest_id,
        Kind.USAGE,
        spent["last"],
        key=f"use:{run_id}",
        change=-spent["spent"],
        reason="Run of a graph",
        run_id=run_id,
        count=spent["count"],
        began_at=spent["first"],
    )


def _complete(user_id: UUID, lines: Sequence[Line]) -> None:
    """Add what only the lines of a page need."""
    ids = [line.newest_id for line in lines]
    transfers, balances = Transfer.objects.in_bulk(ids), balances_after([user_id], ids)
    for line in lines:
        transfer = transfers[line.newest_id]
        line.metadata, line.balance = transfer.metadata, balances[line.newest_id]
        if line.began_at is None:
            line.key, line.change, line.reason, line.run_id = (
                transfer.key,
                transfer.change,
                transfer.reason,
                transfer.run_id,
            )


def transfers_with_balances(rows: Sequence[Transfer]) -> list[tuple[Transfer, int]]:
    """Each transfer of a user and what there was after it."""
    balances = balances_after({row.user_id for row in rows if row.user_id}, [row.pk for row in rows])
    return [(row, balances.get(row.pk, 0)) for row in rows]
