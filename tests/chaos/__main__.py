"""`python -m tests.chaos`: random faults on servers and workers of its own, and a table of what went wrong."""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1] / "packages"


def main() -> int:
    """Play a round for each seed, print the table, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long each round strikes (default 60)")
    parser.add_argument("--seeds", type=int, default=3, help="how many rounds there are (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; the others follow (default 1)")
    parser.add_argument("--runs", type=int, help="start no more than so many runs in a round")
    parser.add_argument("--keep", action="store_true", help="keep logs and database even if nothing is wrong")
    options = parser.parse_args()
    # A cancelled job sends SIGTERM: end the orderly way then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="taskloom-chaos-")).resolve()
    _point_at(home)
    is_right = False
    try:
        is_right = _play(home, options)
    finally:
        if is_right and not options.keep:
            shutil.rmtree(home, ignore_errors=True)
        else:
            sys.stderr.write(f"Logs, complaints.txt of each seed, and the database are kept in {home}\n")
    return 0 if is_right else 1


def _point_at(home: Path) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)
    os.environ["TASKLOOM_HOME"] = str(home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    # The probe blocks, which workers find by their environment.
    sys.path.append(str(PACKAGES))


def _play(home: Path, options: argparse.Namespace) -> bool:
    import django

    django.setup()
    from django.core.management import call_command

    from tests.chaos.report import table
    from tests.chaos.rounds import Round
    from tests.chaos.stack import Servers

    _log_to(home / "harness.log")
    servers = Servers(home)
    verdicts = []
    try:
        servers.start()
        call_command("migrate", verbosity=0)
        for seed in range(options.seed, options.seed + options.seeds):
            began = time.monotonic()
            verdict = Round(seed, servers, home / f"seed-{seed}", options.runs).play(options.seconds)
            verdicts.append(verdict)
            sys.stderr.write(f"seed {seed}: {verdict.runs} runs in {time.monotonic() - began:.0f} s\n")
            for complaint in verdict.complaints:
                sys.stderr.write(f"  {complaint}\n")
            if verdict.complaints:
                sys.stderr.write(f"Once more: --seed {seed} --seeds 1 --seconds {options.seconds:g}\n")
    finally:
        servers.stop()
        if verdicts:
            table(verdicts)
    return len(verdicts) == options.seeds and not any(verdict.complaints for verdict in verdicts)


def _log_to(path: Path) -> None:
    """Keep what our own code warns of, such as doorbells that could not be rung, off the terminal."""
    logging.basicConfig(filename=path, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True)


if __name__ == "__main__":
    sys.exit(main())
