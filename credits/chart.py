"""A chart of amounts by day: plain SVG without scripts or styles of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from credits.errors import shown

WIDTH = 900
HEIGHT = 220
_TOP = 30
_LEFT = 80
_BOTTOM = 30
# A label every so many days at most.
_LABELS = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """A day as a bar: its place in the chart, what it says, and the label below it if it has one."""

    x: float
    y: float
    width: float
    height: float
    title: str
    label: str

    @property
    def middle(self) -> float:
        """Where the label is."""
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True, slots=True)
class Chart:
    """All bars, and lines at amounts, which are in credits."""

    bars: list[Bar]
    lines: list[tuple[float, str]]
    total: str


def chart_of(amounts: Mapping[date, int]) -> Chart:
    """The chart of micro-credits by day."""
    most = max([*amounts.values(), 0])
    bars = HEIGHT - _TOP - _BOTTOM
    step = (WIDTH - _LEFT) / max(len(amounts), 1)
    every = -(-len(amounts) // _LABELS)
    return Chart(
        bars=[
            Bar(
                x=round(_LEFT + number * step + step * 0.1, 1),
                y=round(HEIGHT - _BOTTOM - _share(amount, most) * bars, 1),
                width=round(step * 0.8, 1),
                height=round(_share(amount, most) * bars, 1),
                title=f"{day}: {shown(amount)} credits",
                label=f"{day:%d %b}" if number % every == 0 else "",
            )
            for number, (day, amount) in enumerate(amounts.items())
        ],
        lines=[
            (round(HEIGHT - _BOTTOM - part * bars / 2, 1), shown(most * part // 2))
            for part in ((0, 1, 2) if most else (0,))
        ],
        total=shown(sum(amounts.values())),
    )


def _share(amount: int, most: int) -> float:
    return max(amount, 0) / most if most else 0.0
