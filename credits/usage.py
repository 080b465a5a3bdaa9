"""What credits were used for: sums by day, graph, block, model or API key."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from credits.errors import PeriodInvalid
from credits.totals import TOTALS, fetch

LONGEST_DAYS = 366
MOST_ITEMS = 1000


class By(StrEnum):
    """What sums are made for."""

    DAY = "day"
    GRAPH = "graph"
    BLOCK = "block"
    MODEL = "model"
    API_KEY = "api_key"


# Names of columns: none comes from outside.
_COLUMN = {By.DAY: "day", By.GRAPH: "graph_id", By.BLOCK: "block_id", By.MODEL: "model", By.API_KEY: "api_key_id"}


@dataclass(frozen=True, slots=True)
class Period:
    """Days of UTC, the first and the last among them."""

    first: date
    last: date

    @classmethod
    def of(cls, first: date | None, last: date | None) -> "Period":
        """The period from `first` to `last`, which is today unless given; 30 days unless `first` is given.

        Raises `PeriodInvalid` when it ends before it begins or is too long.
        """
        last = last or datetime.now(UTC).date()
        first = first or last - min(timedelta(days=29), last - date.min)
        if first > last:
            raise PeriodInvalid(f"from is {first}, which is after to, {last}")
        if (last - first).days >= LONGEST_DAYS:
            raise PeriodInvalid(f"{first} to {last} is longer than {LONGEST_DAYS} days")
        return cls(first, last)


@dataclass(frozen=True, slots=True)
class Used:
    """What was used for one thing: `name` is a day, or an id, and empty where there is none. In micro-credits."""

    name: str
    amount: int
    count: int


def usage_of(user_id: UUID, period: Period, by: By) -> tuple[Used, list[Used]]:
    """What a user has used in a period: all of it, and for each thing.

    Days come in their order, those without use left out; other things by what they cost, at most 1,000 of them.
    """
    column = _COLUMN[by]
    order = "name" if by is By.DAY else "amount DESC, name"
    statement = f"""
        WITH used AS (
            SELECT * FROM ({TOTALS}) AS total WHERE kind = 'USAGE' AND day BETWEEN %(first)s AND %(last)s
        ), things AS (
            SELECT row_number() OVER (ORDER BY {order}) AS place, * FROM (
                SELECT {column}::text AS name, -sum(change)::bigint AS amount, sum(count)::bigint AS count
                FROM used GROUP BY {column}
            ) AS each ORDER BY place LIMIT {MOST_ITEMS}
        )
        SELECT 0, '', COALESCE(-sum(change), 0)::bigint, COALESCE(sum(count), 0)::bigint FROM used
        UNION ALL SELECT * FROM things
        ORDER BY 1
    """  # noqa: S608  no outside text
    rows = fetch(statement, {"users": [user_id], "first": period.first, "last": period.last})
    total, *things = (Used(name, amount, count) for _, name, amount, count in rows)
    return total, things


def used_by_day(period: Period, user_id: UUID | None = None) -> dict[date, int]:
    """What all users together, or one, used on each day so far added up; days without use are 0."""
    of_whom = "AND user_id = %(user)s" if user_id else ""
    statement = f"""
        SELECT day, -sum(change)::bigint FROM credits_daytotal
        WHERE kind = 'USAGE' AND day BETWEEN %(first)s AND %(last)s {of_whom} GROUP BY day
    """  # noqa: S608  no outside text
    found = dict(fetch(statement, {"first": period.first, "last": period.last, "user": user_id}))
    days = (period.first + timedelta(days=number) for number in range((period.last - period.first).days + 1))
    return {day: found.get(day, 0) for day in days}
