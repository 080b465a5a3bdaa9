"""`manage.py sweep_files`: let go of files that nobody can use any more, now."""

from typing import Any

from django.core.management.base import BaseCommand

from files.sweeping import sweep


class Command(BaseCommand):
    """Delete expired and abandoned files, and bytes that no row names, as beat has a worker do each hour."""

    help = "Delete expired and abandoned files, and bytes in the storage that no row names."

    def handle(self, *args: Any, **options: Any) -> str:
        """Sweep, and tell how much was there; harmless however often."""
        swept = sweep()
        told = f"{swept.removed} files deleted, {swept.orphans} without a row deleted"
        return f"{told}, {swept.stuck} could not be: see the log" if swept.stuck else told
