"""The table that a call of chaos prints: a column for each seed, and their sum."""

from collections.abc import Callable, Sequence
from itertools import chain

from rich.console import Console
from rich.table import Table

from tests.chaos.faults import KINDS
from tests.chaos.verdict import Verdict

_COUNTS: dict[str, Callable[[Verdict], int]] = {
    "runs": lambda verdict: verdict.runs,
    "activations": lambda verdict: verdict.activations,
    "activations taken over": lambda verdict: verdict.taken_over,
    "effects": lambda verdict: verdict.effects,
    "unsafe effects with unknown outcome": lambda verdict: verdict.unknown_outcomes,
}
_WRONG: dict[str, Callable[[Verdict], int]] = {
    "lost": lambda verdict: len(verdict.lost),
    "duplicated": lambda verdict: len(verdict.duplicated),
    "gaps": lambda verdict: len(verdict.gaps),
    "invariants violated": lambda verdict: len(verdict.violations),
    "troubles with workers": lambda verdict: len(verdict.troubles),
}


def table(verdicts: Sequence[Verdict]) -> None:
    """Print it."""
    grid = Table(title="Random chaos")
    grid.add_column("")
    for verdict in verdicts:
        grid.add_column(f"seed {verdict.seed}", justify="right")
    grid.add_column("together", justify="right", style="bold")
    for name, count in _COUNTS.items():
        _add(grid, name, [count(verdict) for verdict in verdicts])
    grid.add_section()
    for kind in (*KINDS, "doorbell never rung"):
        _add(grid, kind, [verdict.faults[kind] for verdict in verdicts])
    grid.add_section()
    for name, count in _WRONG.items():
        _add(grid, name, [count(verdict) for verdict in verdicts])
    grid.add_section()
    recoveries = [verdict.recoveries for verdict in verdicts]
    recoveries.append(sorted(chain.from_iterable(recoveries)))
    grid.add_row("runs hit by faults", *(str(len(seconds)) for seconds in recoveries))
    for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
        grid.add_row(f"recovery {name}, s", *(_quantile(seconds, share) for seconds in recoveries))
    console = Console(width=140)
    console.print(grid)
    runs = sum(verdict.runs for verdict in verdicts)
    if not any(verdict.complaints for verdict in verdicts):
        console.print(f"Nothing wrong in {runs} runs: with 95 % confidence at most 3/{runs} = {3 / runs:.2%} of runs.")


def _add(grid: Table, name: str, counts: list[int]) -> None:
    grid.add_row(name, *map(str, counts), str(sum(counts)))


def _quantile(ordered: Sequence[float], share: float) -> str:
    return f"{ordered[round(share * (len(ordered) - 1))]:.2f}" if ordered else "–"
