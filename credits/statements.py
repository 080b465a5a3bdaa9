"""The statement of a month: every transfer, and balances that they lead from and to."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import StringIO
from uuid import UUID

import orjson
from django.db.models.fields.json import KeyTextTransform

from credits.kinds import CREDIT, Party
from credits.models import Transfer
from credits.totals import balance_before

_PAGE = 1000
_COLUMNS = ("time", "key", "type", "description", "graph", "run", "credits", "balance")
# What spreadsheets take for the beginning of a formula, after blanks too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


@dataclass(frozen=True, slots=True)
class Month:
    """A month by the calendar of UTC."""

    year: int
    month: int

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.month, 1)

    @property
    def following(self) -> "Month":
        """The month after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Posting:
    """A transfer as a statement tells it: its change of the balance, and the balance after it, in micro-credits."""

    at: datetime
    key: str
    kind: str
    reason: str
    graph_id: str | None
    run_id: UUID | None
    change: int
    balance: int


def postings(user_id: UUID, month: Month, opening: int) -> Iterator[Posting]:
    """All transfers of a user in a month, oldest first, read as they are asked for."""
    month_of = Transfer.objects.filter(
        user_id=user_id, at__gte=_begin(month.first), at__lt=_begin(month.following.first)
    )
    rows = month_of.order_by("at", "id").values_list(
        "pk", "at", "key", "kind", "reason", KeyTextTransform("graph_id", "metadata"), "run_id", "credit", "amount"
    )
    balance, page = opening, list(rows[:_PAGE])
    while page:
        for _, at, key, kind, reason, graph_id, run_id, side, amount in page:
            change = amount if side == Party.USER else -amount
            balance += change
            yield Posting(at, key, kind, reason, graph_id, run_id, change, balance)
        last_id, last_at = page[-1][:2]
        page = list(rows.filter(at__gte=last_at).exclude(at=last_at, id__lte=last_id)[:_PAGE])


def as_csv(user_id: UUID, month: Month) -> Iterator[bytes]:
    """The statement as lines of CSV, from the opening balance to the closing one."""
    opening = closing = balance_before(user_id, month.first)
    yield _row(_COLUMNS)
    yield _row((f"{month.first}T00:00:00Z", "", "OPENING_BALANCE", "", "", "", "", exact(opening)))
    for posting in postings(user_id, month, opening):
        closing = posting.balance
        yield _row(
            (
                _time(posting.at),
                _text(posting.key),
                posting.kind,
                _text(posting.reason),
                _text(posting.graph_id or ""),
                str(posting.run_id or ""),
                exact(posting.change),
                exact(posting.balance),
            )
        )
    yield _row((f"{month.following.first}T00:00:00Z", "", "CLOSING_BALANCE", "", "", "", "", exact(closing)))


def as_json(user_id: UUID, month: Month) -> Iterator[bytes]:
    """The statement as one JSON document in pieces; amounts are in micro-credits."""
    opening = closing = balance_before(user_id, month.first)
    head = {"month": str(month), "opening_balance_microcredits": opening}
    yield orjson.dumps(head)[:-1] + b',"transactions":['
    totals: dict[str, int] = {}
    separator = b""
    for posting in postings(user_id, month, opening):
        closing = posting.balance
        totals[posting.kind] = totals.get(posting.kind, 0) + posting.change
        yield separator + orjson.dumps(
            {
                "transaction_key": posting.key,
                "transaction_time": posting.at,
                "transaction_type": posting.kind,
                "description": posting.reason,
                "usage_graph_id": posting.graph_id,
                "usage_execution_id": posting.run_id,
                "amount_microcredits": posting.change,
                "balance_microcredits": posting.balance,
            },
            option=orjson.OPT_UTC_Z,
        )
        separator = b","
    yield b"]," + orjson.dumps({"totals_microcredits": totals, "closing_balance_microcredits": closing})[1:]


def exact(amount: int) -> str:
    """Micro-credits as credits with six digits: nothing is rounded."""
    whole, rest = divmod(abs(amount), CREDIT)
    return f"{'-' if amount < 0 else ''}{whole}.{rest:06}"


def _begin(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _row(cells: tuple[str, ...]) -> bytes:
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()
