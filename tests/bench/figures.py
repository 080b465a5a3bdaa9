"""What was measured, what it is held against, and how both are shown."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 150


@dataclass(frozen=True)
class Check:
    """A figure beside its target: wanted at most `limit`, or with `at_least` not below it."""

    value: float
    unit: str
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def met(self) -> str:
        """The same in a word."""
        return "yes" if self.holds else "no"

    @property
    def ratio(self) -> str:
        """The figure as it is shown."""
        return f"{number(self.value)} {self.unit}"

    @property
    def target(self) -> str:
        """The target as it is shown."""
        return f"{'≥' if self.at_least else '≤'} {number(self.limit)} {self.unit}"


@dataclass(frozen=True)
class Line:
    """One figure of something: its value in each round, none if it never came to an end, and its checks."""

    what: str
    how: str
    unit: str
    values: Sequence[float] = ()
    checks: Sequence[Check] = ()

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    def cell(self) -> str:
        """The median with the least and the most."""
        if not self.values:
            return "not measured"
        if len(self.values) == 1:
            return f"{number(self.middle)} {self.unit}".strip()
        least, most = number(min(self.values)), number(max(self.values))
        return f"{number(self.middle)} ({least} to {most}) {self.unit}"


@dataclass
class Section:
    """One table."""

    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(title=self.title, title_justify="left")
        table.add_column("what")
        table.add_column("how")
        for name in ("median (least to most)", "ratio", "target"):
            table.add_column(name, justify="right")
        table.add_column("met")
        before = ""
        for line in self.lines:
            if before and line.what != before:
                table.add_section()
            table.add_row(line.what if line.what != before else "", line.how, line.cell(), *_cells(line.checks))
            before = line.what
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)
        console.print()

    def markdown(self) -> str:
        """It as a table for the docs."""
        rows, before = [], ""
        for line in self.lines:
            beside = (_beside(line.checks, part) for part in ("ratio", "target", "met"))
            rows.append((line.what if line.what != before else "", line.how, line.cell(), *beside))
            before = line.what
        head = ("what", "how", "median (least to most)", "ratio", "target", "met")
        table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
        return "\n\n".join([f"## {self.title}", table, *self.notes]) + "\n"

    def document(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "title": self.title,
            "lines": [
                {
                    "what": line.what,
                    "how": line.how,
                    "unit": line.unit,
                    "values": list(line.values),
                    "checks": [
                        {"value": check.value, "unit": check.unit, "target": check.target, "met": check.holds}
                        for check in line.checks
                    ],
                }
                for line in self.lines
            ],
            "notes": self.notes,
        }


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of them do not exceed: 0.95 for the p95."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def number(value: float) -> str:
    """A number with the digits that mean something."""
    if value == int(value) and value < 1000:
        return str(int(value))
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cells(checks: Sequence[Check]) -> tuple[str, str, Text]:
    verdicts = Text("\n").join(Text(check.met, "green" if check.holds else "bold red") for check in checks)
    return "\n".join(check.ratio for check in checks), "\n".join(check.target for check in checks), verdicts


def _beside(checks: Sequence[Check], part: str) -> str:
    return "; ".join(getattr(check, part) for check in checks)
