"""When a schedule fires: five cron fields, read by the clocks of a time zone. Pure: it knows neither now nor rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import takewhile
from typing import Self
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from executions.errors import CronInvalid, ZoneUnknown

LONGEST = 200
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001  the time on a clock, in no zone
_ALL_HOURS = frozenset(range(24))
_MINUTE = timedelta(minutes=1)
_FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31, L for the last day or LW for the last weekday"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 or SUN-SAT, where 0 and 7 are Sunday, MON#1 for the first Monday or 5L for the last Friday"),
)
# In which to look for the latest time before a moment: seldom further than the first.
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366))


@dataclass(frozen=True, slots=True)
class Cron:
    """The times that a cron expression names, in a zone; make one with `parse`.

    An expression that leaves the hour open (`*`) follows the time that passes, whatever clocks are set to. Any other
    names times on clocks: one that does not exist, because clocks were set forward over it, comes at the next moment
    that does; one that comes twice, because they were set back, comes at the first. No moment comes twice.
    """

    text: str
    zone: ZoneInfo
    _is_open: bool

    @classmethod
    @lru_cache(maxsize=1000)
    def parse(cls, text: str, zone: str) -> Self:
        """Read an expression of five fields, with names or numbers in either case.

        Raises `CronInvalid` when it is none or names no day that ever comes, `ZoneUnknown` for an unknown zone.
        """
        where = zone_of(zone)
        fields = text.upper().split()
        if len(text) > LONGEST:
            raise CronInvalid(f"A cron expression has at most {LONGEST} characters, and this one {len(text)}")
        if len(fields) != len(_FIELDS):
            raise CronInvalid(f'"{text}" has {len(fields)} fields, and a cron expression has {len(_FIELDS)}')
        for place, (field, (name, range_)) in enumerate(zip(fields, _FIELDS, strict=True)):
            _check(["*"] * place + [field] + ["*"] * (4 - place), f'The {name} "{field}" in "{text}" is not {range_}')
        impossible = f'There is no day that "{text}" means: no month that it names has such a day'
        first = next(_check(fields, impossible), None)
        if first is None:
            raise CronInvalid(impossible)
        is_open = CronSim(" ".join(fields), _EPOCH).hours == _ALL_HOURS
        return cls(" ".join(fields), where, is_open)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after `moment` in their order, in UTC; they end only where none comes for 50 years."""
        last = moment.astimezone(UTC)
        for time in self._moments(moment) if self._is_open else self._first_moments(moment):
            if time > last:
                yield time
                last = time

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment`, in UTC. Raises `CronInvalid` when none comes for 50 years."""
        for time in self.after(moment):
            return time
        raise CronInvalid(f'"{self.text}" names no time that is still to come')

    def latest(self, since: datetime, until: datetime) -> datetime:
        """The last of the times up to `until`, itself included; `since` if there is none after that."""
        for back in _LOOK_BACK:
            if until - back > since and (times := list(self.between(until - back, until))):
                return times[-1]
        return max(self.between(since, until), default=since)

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The times after one moment and up to another, itself included."""
        return takewhile(lambda time: time <= until, self.after(after))

    def explain(self) -> str:
        """What it says, in English."""
        return CronSim(self.text, _EPOCH).explain()

    def _moments(self, moment: datetime) -> Iterator[datetime]:
        """Every time at which clocks show what is named, for an expression that leaves the hour open."""
        shown = _shown(moment, self.zone)
        # What clocks showed before this moment comes again if they are about to be set back.
        again = max(_at(shown, self.zone, fold=1) - _at(shown, self.zone), timedelta())
        second_times: list[datetime] = []
        for wall in CronSim(self.text, shown - again):
            first, second = _at(wall, self.zone), _at(wall, self.zone, fold=1)
            if _shown(first, self.zone) != wall:
                continue
            while second_times and second_times[0] < first:
                yield second_times.pop(0)
            yield first
            if second != first:
                second_times.append(second)
        yield from second_times

    def _first_moments(self, moment: datetime) -> Iterator[datetime]:
        """The first moment at which clocks show each of the times named, or next show more than that."""
        for wall in CronSim(self.text, _shown(moment, self.zone)):
            later = wall
            while _shown(time := _at(later, self.zone), self.zone) != later:
                later += _MINUTE
            yield time


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    """What clocks in a zone show at a moment."""
    return moment.astimezone(zone).replace(tzinfo=None)


def _at(wall: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """The moment at which clocks in a zone show this, if there are two the first, or with `fold=1` the second."""
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; raises `ZoneUnknown`."""
    if name not in _zone_names():
        raise ZoneUnknown(f'There is no time zone "{name}"')
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _check(fields: list[str], message: str) -> CronSim:
    try:
        return CronSim(" ".join(fields), _EPOCH)
    except CronSimError:
        raise CronInvalid(message) from None
