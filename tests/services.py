"""Postgres and Valkey for the tests: one throw-away pair per call of pytest, shared by its worker processes.

Loaded early (`-p tests.services`), because pytest-django reads the settings before any conftest is imported.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

_POINTING_ELSEWHERE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")
_stop: "list[Services]" = []


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
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        services = Services()
        _stop.append(services)
        try:
            services.start()
        except BaseException:
            services.stop()
            raise
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop what was started; also reached after Ctrl-C."""
    while _stop:
        _stop.pop().stop()
