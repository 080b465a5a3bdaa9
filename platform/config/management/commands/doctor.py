"""`manage.py doctor`: what is ill, and what cures it."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Examine everything that Taskloom depends on; exit 1 when something needs a cure."""

    help = __doc__
    # A failing check is one of the findings.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument("--port", type=int, default=8000, help="the port of the web server (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print each finding as soon as it is there."""
        from config import doctor

        if not 0 < options["port"] < 65536:
            raise CommandError("--port must be from 1 to 65535.")
        findings = []
        for finding in doctor.examine(options["port"]):
            findings.append(finding)
            if not options["json"]:
                mark = self.style.SUCCESS("ok ") if finding.ok else self.style.ERROR("ILL")
                self.stdout.write(f"{mark} {finding.name:14} {finding.message}")
                if not finding.ok:
                    self.stdout.write(f"    {'':14} → {finding.cure}")
        well = all(finding.ok for finding in findings)
        if options["json"]:
            self.stdout.write(json.dumps({"ok": well, "findings": [each.as_dict() for each in findings]}, indent=2))
        if not well:
            raise SystemExit(1)
