"""`python -m tests.drill`: watchers on servers and workers of their own, a web server that is killed, and figures."""

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# How long a fault and what follows it take on two processors.
_SECONDS_PER_KILL = 12


def main() -> int:
    """Play one drill, print what came of it, and return 1 if anybody missed anything."""
    parser = argparse.ArgumentParser(prog="tests.drill", description=__doc__)
    parser.add_argument("--sockets", type=int, default=200, help="watchers by WebSocket (default 200)")
    parser.add_argument("--streams", type=int, default=20, help="watchers by event stream (default and most 20)")
    parser.add_argument("--runs", type=int, default=100, help="runs that they watch (default 100)")
    parser.add_argument("--kills", type=int, default=5, help="how often the web server is killed (default 5)")
    options = parser.parse_args()
    # A cancelled job sends SIGTERM: end the orderly way then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="taskloom-drill-")).resolve()
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)
    os.environ["TASKLOOM_HOME"] = str(home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    is_right = False
    try:
        is_right = _play(home, options)
    finally:
        if is_right:
            shutil.rmtree(home, ignore_errors=True)
        else:
            sys.stderr.write(f"Logs and database are kept in {home}\n")
    return 0 if is_right else 1


def _play(home: Path, options: argparse.Namespace) -> bool:
    import django

    django.setup()
    from django.core.management import call_command

    from tests.bench.figures import percentile
    from tests.bench.installation import PASSWORD, running, somebody
    from tests.chaos.stack import Servers
    from tests.drawing import draw
    from tests.drill.drill import Plan, play
    from tests.drill.web import KillableWeb

    logging.basicConfig(filename=home / "harness.log", force=True)
    servers = Servers(home)
    try:
        servers.start()
        call_command("migrate", verbosity=0)
        (home / "static").mkdir()
        user = somebody("watched")
        seconds = _SECONDS_PER_KILL * (options.kills + 1)
        graph = draw(user, {"a": ("CountdownTimer", {"seconds": 1, "repeat": seconds})})
        plan = Plan(runs=options.runs, sockets=options.sockets, streams=options.streams, kills=options.kills, calm=2.0)
        with running(workers=2, web=False), KillableWeb(home / "logs") as web:
            asyncio.run(web.until_up())
            outcome = asyncio.run(
                play(plan, web, servers.restart_valkey, email=user.email, password=PASSWORD, graph_id=graph.id)
            )
    finally:
        servers.stop()
    late = outcome.lateness
    sys.stdout.write(
        f"{plan.sockets} sockets and {plan.streams} streams followed {plan.runs} runs of {outcome.events} events;"
        f" the web server was killed {plan.kills} times, Valkey restarted once.\n"
        f"received {outcome.received}, missing {outcome.missing}, out of order {outcome.disordered},"
        f" not to their end {outcome.unfinished}; connections {outcome.connections}\n"
        f"hints were heard again {outcome.heard_again:.1f} s after Valkey was back; after the last fault an event took"
        f" p50 {percentile(late, 0.5):.0f} ms, p95 {percentile(late, 0.95):.0f} ms\n"
    )
    return outcome.is_right


if __name__ == "__main__":
    sys.exit(main())
