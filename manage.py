#!/usr/bin/env python
"""Django's command line."""

import os
import sys


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError
    except ModuleNotFoundError as error:
        sys.exit(
            f"{sys.executable} has no {error.name}. Use `.venv/bin/python manage.py …`; `make install` makes .venv."
        )

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"The settings do not fit: {error}.")
    except OperationalError as error:
        # What Postgres itself refused has a code; without one nobody answered.
        if getattr(error.__cause__, "sqlstate", None) or "--traceback" in sys.argv:
            raise
        given = os.environ.get("DATABASE_URL")
        cure = "Start it, or correct DATABASE_URL." if given else "Start the platform: `make run` in another terminal."
        sys.exit(f"The database does not answer: {str(error).strip()}\n{cure} `manage.py doctor` says what is ill.")


if __name__ == "__main__":
    main()
