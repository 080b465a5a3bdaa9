"""Real worker processes on the test's own database and broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]


def environment(**overrides: str) -> dict[str, str]:
    """The environment in which a command finds what the test sees."""
    parameters = connection.get_connection_params()
    socket = quote(str(parameters["host"]), safe="/")
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "DATABASE_URL": f"postgresql://{parameters['user']}:@/{parameters['dbname']}?host={socket}",
        "DJANGO_SECRET_KEY": settings.SECRET_KEY,
        "JWT_SIGNING_KEY": settings.JWT_SIGNING_KEY,
        "PYTHONPATH": str(ROOT / "tests" / "packages"),
        "TASKLOOM_LEASE_SECONDS": "3",
        "TASKLOOM_SWEEP_SECONDS": "1",
        **overrides,
    }


def command(name: str) -> list[str]:
    """What starts a worker of this name."""
    options = [
        "-Q",
        "runs,isolated,default",
        "-l",
        "INFO",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    return [sys.executable, "-m", "celery", "-A", "config", "worker", *options, "-n", f"{name}@%h"]


@contextmanager
def worker(log: Path, **overrides: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process until the block ends; what it prints goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(log.stem), cwd=ROOT, env=environment(**overrides), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)
