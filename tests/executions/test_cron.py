"""When cron expressions fire, also where clocks are set forward and back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executions.cron import Cron
from executions.errors import CronInvalid, ZoneUnknown

ZONES = [
    "UTC",
    "America/New_York",
    "America/Santiago",  # clocks are changed at midnight
    "Europe/London",
    "Europe/Berlin",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # once by a whole day
]


def times(text: str, zone: str, since: str, count: int = 3) -> list[str]:
    """The next times, as clocks there show them with their offset, after a moment there."""
    cron = Cron.parse(text, zone)
    moment = datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(zone))
    return [time.astimezone(cron.zone).strftime("%m-%d %H:%M%z") for time in islice(cron.after(moment), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["01-01 00:01+0000", "01-01 00:02+0000", "01-01 00:03+0000"]),
        ("*/20 9-10 * * *", ["01-01 09:00+0000", "01-01 09:20+0000", "01-01 09:40+0000"]),
        ("30 9 * * MON-FRI", ["01-01 09:30+0000", "01-02 09:30+0000", "01-05 09:30+0000"]),
        ("30 9 * * mon,wed", ["01-05 09:30+0000", "01-07 09:30+0000", "01-12 09:30+0000"]),
        ("0 0 1 JAN-MAR *", ["02-01 00:00+0000", "03-01 00:00+0000", "01-01 00:00+0000"]),
        ("0 0 * * 0", ["01-04 00:00+0000", "01-11 00:00+0000", "01-18 00:00+0000"]),
        ("0 0 * * 7", ["01-04 00:00+0000", "01-11 00:00+0000", "01-18 00:00+0000"]),
        ("0 0 L * *", ["01-31 00:00+0000", "02-28 00:00+0000", "03-31 00:00+0000"]),
        ("0 0 29 2 *", ["02-29 00:00+0000", "02-29 00:00+0000", "02-29 00:00+0000"]),
        ("0 0 13 * FRI", ["01-02 00:00+0000", "01-09 00:00+0000", "01-13 00:00+0000"]),
        ("0 0 * * MON#1", ["01-05 00:00+0000", "02-02 00:00+0000", "03-02 00:00+0000"]),
        ("  5   0 * * * ", ["01-01 00:05+0000", "01-02 00:05+0000", "01-03 00:05+0000"]),
    ],
)
def test_five_fields_name_times(text: str, expected: list[str]):
    assert times(text, "UTC", "2026-01-01T00:00") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '"" has 0 fields, and a cron expression has 5'),
        ("* * * *", '"* * * *" has 4 fields, and a cron expression has 5'),
        ("0 * * * * *", '"0 * * * * *" has 6 fields, and a cron expression has 5'),
        ("@daily", '"@daily" has 1 fields, and a cron expression has 5'),
        ("60 * * * *", 'The minute "60" in "60 * * * *" is not 0-59'),
        ("* 24 * * *", 'The hour "24" in "* 24 * * *" is not 0-23'),
        ("*/0 * * * *", 'The minute "*/0" in "*/0 * * * *" is not 0-59'),
        ("-1 * * * *", 'The minute "-1" in "-1 * * * *" is not 0-59'),
        ("1,,2 * * * *", 'The minute "1,,2" in "1,,2 * * * *" is not 0-59'),
        ("30-10 * * * *", 'The minute "30-10" in "30-10 * * * *" is not 0-59'),
        ("* * * 13 *", 'The month "13" in "* * * 13 *" is not 1-12 or JAN-DEC'),
        ("* * * JANUARY *", 'The month "JANUARY" in "* * * JANUARY *" is not 1-12 or JAN-DEC'),
        ("٣ * * * *", 'The minute "٣" in "٣ * * * *" is not 0-59'),
    ],
)
def test_what_is_no_expression_is_refused_with_the_field_to_change(text: str, message: str):
    with pytest.raises(CronInvalid) as refusal:
        Cron.parse(text, "UTC")

    assert refusal.value.message == message
    assert refusal.value.hint


@pytest.mark.parametrize(
    "text", ["0 0 30 2 *", "0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 0 30,31 FEB *", "0 0 */5 2 MON#5", "0 0 31 2 */2"]
)
def test_a_day_that_never_comes_is_refused(text: str):
    with pytest.raises(CronInvalid, match="no month that it names has such a day"):
        Cron.parse(text, "UTC")


def test_an_endless_expression_is_refused_before_it_is_read():
    with pytest.raises(CronInvalid, match="at most 200 characters, and this one 100007"):
        Cron.parse("0," * 50_000 + "0 * * *", "UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "America", "../../etc/passwd", "/etc/localtime", "UTC\0", "utc"])
def test_an_unknown_time_zone_is_refused(zone: str):
    with pytest.raises(ZoneUnknown, match="There is no time zone"):
        Cron.parse("* * * * *", zone)


def test_a_time_that_does_not_exist_comes_once_at_the_next_moment_that_does():
    expected = ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00") == expected
    several = ["03-29 03:00+0200", "03-30 02:15+0200", "03-30 02:45+0200"]
    assert times("15,45 2 * * *", "Europe/Berlin", "2026-03-29T00:00") == several
    beside_another = ["03-29 03:00+0200", "03-30 02:00+0200", "03-30 03:00+0200"]
    assert times("0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00") == beside_another
    assert times("0 0 * * *", "America/Santiago", "2026-09-05T12:00", 2) == ["09-06 01:00-0300", "09-07 00:00-0300"]
    assert times("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00", 2) == ["12-31 00:00+1400", "12-30 12:00+1400"]


def test_a_time_that_comes_twice_comes_at_the_first():
    expected = ["10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"]
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00") == expected
    assert times("*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:00")[:3] == [
        "10-25 02:00+0200",
        "10-25 02:30+0200",
        "10-26 02:00+0100",
    ]


def test_between_the_two_comings_of_a_time_neither_comes_again():
    cron = Cron.parse("30 2 * * *", "Europe/Berlin")
    between = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # the second 02:10

    assert cron.next_after(between) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_what_leaves_the_hour_open_follows_the_time_that_passes():
    assert times("0 * * * *", "Europe/Berlin", "2026-10-25T01:30", 3) == [
        "10-25 02:00+0200",
        "10-25 02:00+0100",
        "10-25 03:00+0100",
    ]
    assert times("0 * * * *", "Europe/Berlin", "2026-03-29T00:30", 3) == [
        "03-29 01:00+0100",
        "03-29 03:00+0200",
        "03-29 04:00+0200",
    ]
    assert times("0 0-23 * * *", "Europe/Berlin", "2026-10-25T01:30", 2) == ["10-25 02:00+0200", "10-25 02:00+0100"]
    assert times("30 * * * *", "Asia/Kathmandu", "1985-12-31T23:59", 2) == ["01-01 00:30+0545", "01-01 01:30+0545"]
    assert times("10 * * * *", "Australia/Lord_Howe", "2026-04-05T00:30") == [
        "04-05 01:10+1100",
        "04-05 02:10+1030",
        "04-05 03:10+1030",
    ]
    assert times("45 * * * *", "Australia/Lord_Howe", "2026-04-05T00:50") == [
        "04-05 01:45+1100",
        "04-05 01:45+1030",
        "04-05 02:45+1030",
    ]


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "15,45", "59"]),
    st.sampled_from(["*", "0", "1", "2", "*/2", "1-3", "23", "0,23"]),
    st.sampled_from(["*", "*", "1", "25-31", "*/2"]),
    st.sampled_from(["*", "*", "3,4", "9-11"]),
    st.sampled_from(["*", "*", "SUN", "6,0"]),
)


@settings(max_examples=150, deadline=None)
@given(
    fields=FIELDS,
    zone=st.sampled_from(ZONES),
    change=st.integers(0, 40),
    start=st.integers(-3 * 1440, 1440),
)
def test_the_times_are_those_that_a_walk_through_all_minutes_finds(
    fields: tuple[str, str, str, str, str], zone: str, change: int, start: int
):
    changes = CHANGES[zone]
    begin = changes[change % len(changes)] + timedelta(minutes=start)
    end = begin + timedelta(days=3)
    cron = Cron.parse(" ".join(fields), zone)

    assert list(cron.between(begin, end)) == list(walked(fields, ZoneInfo(zone), begin, end))


def changes_of(zone: str) -> list[datetime]:
    """The moments from 1976 to 2040 at which clocks are changed, to the minute; some moment if they never are."""
    where, found = ZoneInfo(zone), []
    hour, last = datetime(1976, 1, 1, tzinfo=UTC), None
    while hour.year < 2040:
        offset = hour.astimezone(where).utcoffset()
        if last is not None and offset != last:
            found.append(hour)
        last, hour = offset, hour + timedelta(hours=12)
    return found or [datetime(2026, 2, 28, tzinfo=UTC)]


CHANGES = {zone: changes_of(zone) for zone in ZONES}


def walked(fields: tuple[str, ...], zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """As slow and plain as can be: look at the clock in each minute, and at what it left out since the one before."""
    is_open = set(numbers(fields[1], 0, 23)) == set(range(24))
    minute = timedelta(minutes=1)
    moment = begin - timedelta(days=2)
    shown = furthest = moment.astimezone(zone).replace(tzinfo=None)
    while (moment := moment + minute) <= end:
        left_out, shown = shown + minute, moment.astimezone(zone).replace(tzinfo=None)
        if is_open:
            due = named(fields, shown)
        else:
            due = shown > furthest and named(fields, shown)
            while left_out < shown:
                due = due or named(fields, left_out)
                left_out += minute
        furthest = max(furthest, shown)
        if due and moment > begin:
            yield moment


def named(fields: tuple[str, ...], wall: datetime) -> bool:
    """Whether the fields name what a clock shows."""
    minute, hour, day, month, weekday = fields
    on_day = wall.day in numbers(day, 1, 31)
    on_weekday = wall.isoweekday() % 7 in {number % 7 for number in numbers(weekday.replace("SUN", "0"), 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")
    return (
        wall.minute in numbers(minute, 0, 59)
        and wall.hour in numbers(hour, 0, 23)
        and wall.month in numbers(month, 1, 12)
        and ((on_day and on_weekday) if both else (on_day or on_weekday))
    )


def numbers(field: str, low: int, high: int) -> list[int]:
    """The numbers that a simple field means."""
    if field.startswith("*"):
        return list(range(low, high + 1, int(field[2:] or 1)))
    if "-" in field:
        first, last = field.split("-")
        return list(range(int(first), int(last) + 1))
    return [int(part) for part in field.split(",")]


@settings(max_examples=100, deadline=None)
@given(fields=FIELDS, hours=st.integers(0, 24 * 400), zone=st.sampled_from(ZONES))
def test_the_latest_time_up_to_a_moment_is_the_last_of_all(fields: tuple[str, ...], hours: int, zone: str):
    cron = Cron.parse(" ".join([*fields[:4], "*"]) if hours % 2 else "5 4 * * SUN", zone)
    since = cron.next_after(datetime(2025, 3, 1, tzinfo=UTC))
    until = since + timedelta(hours=hours % 200)

    assert cron.latest(since, until) == max([since, *cron.between(since, until)])


def test_an_expression_explains_itself():
    assert Cron.parse("30 9 * * MON-FRI", "UTC").explain() == "At 09:30 on Monday through Friday"
