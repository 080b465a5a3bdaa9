"""Blocks that wait and that tell the time."""

import datetime
import math
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field

from graphs.blocks.base import (
    Block,
    BlockError,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Emissions,
    Example,
    Sleep,
)
from graphs.blocks.fields import pin

TEXT = frozenset({Category.TEXT})
LONGEST_WAIT = datetime.timedelta(days=3660).total_seconds()
_UNITS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}

Amount = int | float | str


class CountdownTimerBlock(Block):
    """Waits, then emits; the worker is free meanwhile."""

    id = "d67a9c52-5e4e-11e2-bcfd-0800200c9a71"
    description = (
        "Waits for the days, hours, minutes and seconds together, then emits the message; repeat does this several "
        "times. Ten years at the most, ten thousand times at the most."
    )
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example({"seconds": 5}, (("output_message", "timer finished"),), answers=(None,)),
        Example(
            {"input_message": "tick", "minutes": "1", "repeat": 2},
            (("output_message", "tick"), ("output_message", "tick")),
            answers=(None, None),
        ),
        Example({"input_message": "now", "repeat": 2}, (("output_message", "now"), ("output_message", "now"))),
    )

    class Input(BlockInput):
        """A message, and how long to wait."""

        input_message: Any = pin("What to emit.", default="timer finished", advanced=False)
        seconds: Amount = pin("Seconds to wait.", default=0, advanced=False)
        minutes: Amount = pin("Minutes to wait.", default=0, advanced=False)
        hours: Amount = pin("Hours to wait.", default=0, advanced=False)
        days: Amount = pin("Days to wait.", default=0, advanced=False)
        repeat: int = pin("How often.", default=1, ge=0, le=10_000)

    class Output(BlockOutput):
        """The message."""

        output_message: Any = pin("The message, each time the wait is over.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the message once for each wait that is over, and ask for the next."""
        seconds = sum(_amount(name, getattr(input, name)) * factor for name, factor in _UNITS.items())
        if seconds > LONGEST_WAIT:
            raise BlockError("the wait is longer than ten years")
        if seconds == 0:
            for _ in range(input.repeat):
                yield "output_message", input.input_message
            return
        if context.answers:
            yield "output_message", input.input_message
        if len(context.answers) < input.repeat:
            yield Sleep(seconds)


class Format(BaseModel):
    """How a point in time is written: in strftime's language or as ISO 8601, in an IANA time zone."""

    discriminator: Literal["strftime", "iso8601"] = "strftime"
    format: str | None = Field(default=None, max_length=200)
    timezone: str = "UTC"
    use_user_timezone: bool = False
    include_microseconds: bool = False


class TriggerInput(BlockInput):
    """What starts a block that tells the time, and how it writes it."""

    trigger: str = pin("Anything: it only starts the block.")
    format_type: Format = pin(
        "How to write it. strftime: `format`, such as %d.%m.%Y. iso8601: `include_microseconds`. Both: `timezone`, an "
        "IANA name, or `use_user_timezone` for the zone of whoever runs the graph.",
        default=Format(),
    )


class GetCurrentTimeBlock(Block):
    """Tells the time of day."""

    id = "a892b8d9-3e4e-4e9c-9c1e-75f8efcf1bfa"
    description = "Tells the time of day, as 17:30:00 unless a format says otherwise."
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example({"trigger": "go"}, (("time", "03:04:05"),)),
        Example({"trigger": "go", "format_type": {"timezone": "Europe/Oslo", "format": "%H:%M"}}, (("time", "04:04"),)),
        Example({"trigger": "go", "format_type": {"discriminator": "iso8601"}}, (("time", "T03:04:05+00:00"),)),
    )

    class Input(TriggerInput):
        """No pins of its own."""

    class Output(BlockOutput):
        """The time."""

        time: str = pin("The time of day.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the time of day."""
        now = _now(input.format_type, context)
        yield "time", _written(now, input.format_type, "%H:%M:%S", "T" + _iso_time(now, input.format_type))


class GetCurrentDateBlock(Block):
    """Tells the date."""

    id = "b29c1b50-5d0e-4d9f-8f9d-1b0e6fcbf0b1"
    description = "Tells today's date minus offset days, as 2026-12-31 unless a format says otherwise."
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example({"trigger": "go"}, (("date", "2026-01-02"),)),
        Example({"trigger": "go", "offset": "3"}, (("date", "2025-12-30"),)),
        Example({"trigger": "go", "format_type": {"format": "%d.%m.%Y"}}, (("date", "02.01.2026"),)),
    )

    class Input(TriggerInput):
        """The day."""

        offset: int | str = pin("How many days ago; negative is the future.", default=0, advanced=False)

    class Output(BlockOutput):
        """The date."""

        date: str = pin("The date.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit the date."""
        try:
            day = _now(input.format_type, context) - datetime.timedelta(days=int(input.offset))
        except (ValueError, OverflowError):
            raise BlockError(
                f"offset must be a whole number of days within the calendar, not {input.offset!r}"
            ) from None
        yield "date", _written(day, input.format_type, "%Y-%m-%d", day.date().isoformat())


class GetCurrentDateAndTimeBlock(Block):
    """Tells date and time."""

    id = "716a67b3-6760-42e7-86dc-18645c6e00fc"
    description = "Tells the date and time, as 2026-12-31 17:30:00 unless a format says otherwise."
    categories = TEXT
    effect = Effect.PURE
    examples = (
        Example({"trigger": "go"}, (("date_time", "2026-01-02 03:04:05"),)),
        Example(
            {"trigger": "go", "format_type": {"discriminator": "iso8601", "timezone": "America/New_York"}},
            (("date_time", "2026-01-01T22:04:05-05:00"),),
        ),
    )

    class Input(TriggerInput):
        """No pins of its own."""

    class Output(BlockOutput):
        """Date and time."""

        date_time: str = pin("Date and time.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit date and time."""
        now = _now(input.format_type, context)
        iso = f"{now.date().isoformat()}T{_iso_time(now, input.format_type)}"
        yield "date_time", _written(now, input.format_type, "%Y-%m-%d %H:%M:%S", iso)


def _amount(name: str, value: Amount) -> float:
    try:
        amount = float(value)
    except ValueError:
        raise BlockError(f"{name} must be a number, not {value!r}") from None
    if not 0 <= amount < math.inf:
        raise BlockError(f"{name} must be a number of 0 or more, not {value!r}")
    return amount


def _now(format: Format, context: Context) -> datetime.datetime:
    name = context.time_zone if format.use_user_timezone else format.timezone
    try:
        return datetime.datetime.now(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BlockError(f"timezone must be an IANA name such as Europe/Oslo, not {name!r}") from None


def _iso_time(moment: datetime.datetime, format: Format) -> str:
    # Not of `moment.timetz()`: a time of day without its date has no offset in most zones.
    return moment.isoformat(timespec="microseconds" if format.include_microseconds else "seconds").partition("T")[2]


def _written(moment: datetime.datetime, format: Format, usual: str, iso: str) -> str:
    if format.discriminator == "iso8601":
        return iso
    try:
        return moment.strftime(format.format or usual)
    except ValueError as error:
        raise BlockError(f"format {format.format!r}: {error}") from None
