"""`python -m tests.bench`: what the platform costs, beside its targets, measured on services of its own."""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from config.embedded import Embedded, paths
from tests.bench.figures import WIDTH, Section

ROOT = Path(__file__).resolve().parents[2]
SPEED = ("W1", "W2", "W3", "W4", "W5a", "W5b")
OTHERS = ("effects", "io", "requests", "sockets", "memory")
GROWTH = "growth"
STREAM = "stream"
CREDITS = "credits"
EVERYTHING = (*SPEED, *OTHERS, GROWTH, STREAM, CREDITS)


def main() -> None:
    """Start Postgres and Valkey durably, measure what was asked for, and print a table for each group."""
    options = _options()
    # However it is ended, what it started is stopped in order and its data removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="taskloom-bench-") as folder:
        home = Path(folder).resolve()
        _point_at(home)
        with Embedded(home, durable=True):
            _set_up(home)
            _slow_down(options.commit)
            _measure(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each workload is measured (default 5)")
    parser.add_argument("--only", default="", help=f"some of {','.join(EVERYTHING)}")
    parser.add_argument("--growth", action="store_true", help="also with a million runs in the tables (minutes)")
    parser.add_argument("--commit", type=float, default=0.0, help="milliseconds that each commit takes longer (to 100)")
    parser.add_argument("--all", action="store_true", help="everything there is")
    parser.add_argument("--json", type=Path, help="a file to keep the figures in")
    parser.add_argument("--markdown", type=Path, help="a file to write the tables to, as the docs show them")
    options = parser.parse_args()
    unknown = set(filter(None, options.only.split(","))) - set(EVERYTHING)
    if unknown:
        parser.error(f"--only knows {', '.join(EVERYTHING)}, not {', '.join(sorted(unknown))}")
    return options


def _codes(options: argparse.Namespace) -> set[str]:
    """What to measure."""
    if options.all:
        return set(EVERYTHING)
    chosen = set(filter(None, options.only.split(","))) or {*SPEED, *OTHERS}
    return chosen | ({GROWTH} if options.growth else set())


def _point_at(home: Path) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)
    os.environ["TASKLOOM_HOME"] = str(home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.settings"
    os.environ["BENCH_DATABASE_URL"] = paths.database_url(home)
    os.environ["BENCH_REDIS_URL"] = paths.redis_url(home).replace("db=0", "db=2")
    os.environ["BENCH_BROKER_URL"] = paths.broker_url(paths.redis_url(home)).replace("host=0", "host=2")
    # Blocks that wait and do nothing, installed like those of any third-party package.
    probes = str(ROOT / "tests" / "packages")
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), probes])
    sys.path.append(probes)


def _set_up(home: Path) -> None:
    import django

    django.setup()
    from config.up import prepare

    (home / "static").mkdir()
    prepare.migrate()


def _slow_down(milliseconds: float) -> None:
    """Let each commit wait before it is written to the disk, as on a machine whose disk is slower."""
    import psycopg

    with psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET commit_delay = {round(milliseconds * 1000)}")
        connection.execute("ALTER SYSTEM SET commit_siblings = 0")
        connection.execute("SELECT pg_reload_conf()")


def _measure(options: argparse.Namespace) -> None:
    from tests.bench import credits as paying
    from tests.bench import effects, growth, memory, requests, sockets, speed

    rounds, codes = options.rounds, _codes(options)
    groups: list[tuple[set[str], Callable[[], Section]]] = [
        (set(SPEED), lambda: speed.measure(rounds, codes)),
        ({"effects", "io"}, lambda: effects.measure(rounds, codes)),
        ({"requests"}, lambda: requests.measure(rounds)),
        ({"sockets"}, lambda: sockets.measure()),
        ({"memory"}, lambda: memory.measure()),
        ({STREAM}, lambda: memory.measure_stream()),
        ({CREDITS}, lambda: paying.measure(rounds)),
        ({GROWTH}, lambda: growth.measure()),
    ]
    console = Console(width=WIDTH)
    console.print(f"{os.cpu_count()} processors, Postgres durable, medians with the least and the most")
    console.print(f"Each commit takes {options.commit:g} ms longer\n" if options.commit else "")
    sections: list[Section] = []
    for members, measure in groups:
        if members & codes:
            sections.append(measure())
            sections[-1].show(console)
            _keep(sections, options)


def _keep(sections: Sequence[Section], options: argparse.Namespace) -> None:
    """Write down what is there so far: what comes next may take long, or fail."""
    if options.json is not None:
        document = {"processors": os.cpu_count(), "sections": [section.document() for section in sections]}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if options.markdown is not None:
        options.markdown.write_text("\n".join(section.markdown() for section in sections))


if __name__ == "__main__":
    main()
