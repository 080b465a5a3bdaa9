"""Worker processes of the contenders."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def celery_worker(application: str, queue: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a Celery worker with two processes for a contender's application."""
    arguments = ["-c", "2", "-P", "prefork", "-Q", queue, "-l", "WARNING", "--without-gossip", "--without-mingle"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", application, "worker", *arguments, "-n", f"{queue}@%h"],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
