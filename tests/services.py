"""Postgres and Valkey for the tests: one throw-away pair per call of pytest, shared by its worker processes.

Loaded early (`-p tests.services`), because pytest-django reads the settings before any conftest is imported.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

_POINTING_ELSEWHERE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")


class Services:
    """The pair, in a temporary folder that the environment of every process names."""

    def __init__(self) -> None:
        from config.embedded import Embedded

        self._home = Path(tempfile.mkdtemp(prefix="taskloom-tests-")).resolve()
        self._embedded = Embedded(self._home, durable=False)

    def start(self) -> None:
        """Start both and point the settings at them."""
        for name in _POINTING_ELSEWHERE:
            os.environ.pop(name, None)
        os.environ["TASKLOOM_HOME"] = str(self._home)
        (self._home / "static").mkdir()
        self._embedded.start()

    def stop(self) -> None:
        """Stop both and remove their data."""
        self._embedded.stop()
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(args: list[str]) -> Generator[None]:
    """Start the services in the controlling process, before anything reads the settings."""
    asks_only = {"--help", "-h", "--version", "-V", "--markers", "--fixtures"} & set(args)
    if "PYTEST_XDIST_WORKER" not in os.environ and not asks_only:
        # A cancelled CI job sends SIGTERM: let pytest end the orderly way then, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        services = Services()
        # However pytest ends, also after Ctrl-C or an error in the settings.
        atexit.register(services.stop)
        services.start()
    return (yield)


def main() -> int:
    """Run a Python command, given as arguments, on services of its own: `python -m tests.services manage.py check`."""
    services = Services()
    try:
        services.start()
        return subprocess.run([sys.executable, *sys.argv[1:]], check=False).returncode
    finally:
        services.stop()


if __name__ == "__main__":
    sys.exit(main())
