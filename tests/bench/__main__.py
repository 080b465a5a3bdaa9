"""`python -m tests.bench`: medians of interleaved rounds, with minimum and maximum, on services of its own."""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from config.embedded import Embedded, paths
from tests.bench.workloads import Contender, Workload

WARM_UPS = 3


def main() -> None:
    """Start Postgres and Valkey durably, run every workload on every contender in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each workload is measured (default 5)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="taskloom-bench-") as folder:
        home = Path(folder).resolve()
        _point_at(home)
        with Embedded(home, durable=True):
            _measure(rounds)


def _point_at(home: Path) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)
    os.environ["TASKLOOM_HOME"] = str(home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.settings"
    os.environ["BENCH_DATABASE_URL"] = paths.database_url(home)
    os.environ["BENCH_REDIS_URL"] = paths.redis_url(home).replace("db=0", "db=2")
    os.environ["BENCH_BROKER_URL"] = paths.broker_url(paths.redis_url(home)).replace("host=0", "host=2")


def _measure(rounds: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.bench.canvas import Canvas
    from tests.bench.floor import Commits, Floor
    from tests.bench.ours import Taskloom
    from tests.bench.workloads import WORKLOADS

    contenders: list[Contender] = [Taskloom(), Floor(), Canvas(), Commits()]
    figures: dict[tuple[str, str], list[float | None]] = {}
    started: list[Contender] = []
    try:
        for contender in contenders:
            contender.start()
            started.append(contender)
        for workload in WORKLOADS:
            # Several times, so that every process of a contender has seen the workload before it counts.
            for contender in contenders * WARM_UPS:
                _figure(workload, contender)
            for _ in range(rounds):
                for contender in contenders:
                    figures.setdefault((workload.name, contender.name), []).append(_figure(workload, contender))
            sys.stderr.write(f"measured: {workload.name}\n")
    finally:
        for contender in started:
            contender.stop()
    table = Table(title=f"Median (least to most) of {rounds} interleaved rounds, {os.cpu_count()} processors")
    table.add_column("workload")
    for contender in contenders:
        table.add_column(contender.name, justify="right")
    for workload in WORKLOADS:
        cells = [_cell(figures[workload.name, contender.name]) for contender in contenders]
        table.add_row(f"{workload.name}, {workload.unit}", *cells)
    Console(width=150).print(table)


def _figure(workload: Workload, contender: Contender) -> float | None:
    """The workload's figure, or None when the contender never came to its end."""
    if workload.is_long and contender.is_slow:
        return None
    try:
        return workload.once(contender)
    except TimeoutError:
        sys.stderr.write(f"{contender.name} did not finish: {workload.name}\n")
        return None


def _cell(figures: list[float | None]) -> str:
    values = [figure for figure in figures if figure is not None]
    if not values:
        return "not measured"
    hung = len(figures) - len(values)
    note = f", {hung} hung" if hung else ""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}{note})"


if __name__ == "__main__":
    main()
