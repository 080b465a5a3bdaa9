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

    key: str
    kind: Kind
    at: datetime
    change: int
    newest_id: int
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
    balances = balances_after([user_id], [line.newest_id for line in lines])
    for line in lines:
        line.balance = balances[line.newest_id]
    return lines, next_time


def _lines(mine: QuerySet[Transfer], before: datetime | None, first_look: int) -> Iterator[Line]:
    """All lines older than `before`, newest first."""
    rows = mine.order_by("-at", "-id")
    if before is not None:
        rows = rows.filter(at__lt=before)
    look = max(first_look, _FIRST_LOOK)
    seen: set[UUID] = set()
    while found := list(rows.exclude(kind=Kind.USAGE, run_id__in=list(seen))[:look]):
        runs = {row.run_id for row in found if row.run_id is not None and row.kind == Kind.USAGE}
        spent = _spent_by(mine, runs)
        for row in found:
            if row.run_id is None or row.kind != Kind.USAGE:
                yield _line(row)
            elif row.run_id not in seen:
                seen.add(row.run_id)
                line = _line_of_run(row, spent[row.run_id])
                # One that went on after `before` was on an earlier page.
                if before is None or line.at < before:
                    yield line
        last = found[-1]
        rows = mine.order_by("-at", "-id").filter(at__lte=last.at).exclude(at=last.at, id__gte=last.pk)
        look = min(look * 2, _LONGEST_LOOK)


def _spent_by(mine: QuerySet[Transfer], run_ids: set[UUID]) -> dict[UUID | None, dict[str, Any]]:
    used = mine.filter(run_id__in=run_ids, kind=Kind.USAGE).order_by()
    sums = used.values("run_id").annotate(spent=Sum("amount"), count=Count("id"), first=Min("at"), last=Max("at"))
    return {row["run_id"]: {**row} for row in sums}


def _line(row: Transfer) -> Line:
    return Line(row.key, Kind(row.kind), row.at, row.change, row.pk, row.reason, row.metadata, row.run_id)


def _line_of_run(newest: Transfer, spent: dict[str, Any]) -> Line:
    return Line(
        key=f"use:{newest.run_id}",
        kind=Kind.USAGE,
        at=spent["last"],
        change=-spent["spent"],
        newest_id=newest.pk,
        reason="Run of a graph",
        metadata=newest.metadata,
        run_id=newest.run_id,
        count=spent["count"],
        began_at=spent["first"],
    )


def transfers_with_balances(rows: Sequence[Transfer]) -> list[tuple[Transfer, int]]:
    """Each transfer of a user and what there was after it."""
    balances = balances_after({row.user_id for row in rows if row.user_id}, [row.pk for row in rows])
    return [(row, balances.get(row.pk, 0)) for row in rows]
