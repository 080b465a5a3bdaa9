"""`manage.py up`: the whole platform on this machine."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Start Postgres, Valkey, web, workers and beat, show a graph running, and stay up until Ctrl-C."""

    help = __doc__
    # The checks load everything the children will load: they run in `doctor` and `check` instead.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parser.add_argument("--workers", type=int, default=2, help="worker processes (default: %(default)s)")
        parser.add_argument("--no-demo", action="store_true", help="neither demo user nor example run")
        parser.add_argument("--once", action="store_true", help="stop after the example run; exit 0 if it COMPLETED")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        from config.up.running import Options, run

        if options["once"] and options["no_demo"]:
            raise CommandError("--once waits for the example run, which --no-demo leaves out: give one of them.")
        if not 0 < options["port"] < 65536:
            raise CommandError("--port must be from 1 to 65535.")
        if options["workers"] < 1:
            raise CommandError("--workers must be at least 1.")
        code = run(
            Options(
                host=options["host"],
                port=options["port"],
                workers=options["workers"],
                demo=not options["no_demo"],
                once=options["once"],
            ),
        )
        if code:
            raise SystemExit(code)
