import subprocess
import sys
from collections.abc import Iterator

import pytest
from celery import current_app

from config.beat import GuardedScheduler
from tests.workers import ROOT, environment

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def schedulers() -> Iterator[list[GuardedScheduler]]:
    made = [GuardedScheduler(app=current_app), GuardedScheduler(app=current_app)]
    yield made
    for scheduler in made:
        scheduler.close()


def is_standing_by(scheduler: GuardedScheduler) -> bool:
    # A scheduler that works returns when it wants to look again: never exactly the pause of one that stands by.
    return scheduler.tick() == 5.0 and scheduler._guard is None


def test_of_two_beats_one_works_and_the_other_stands_by(schedulers: list[GuardedScheduler]):
    first, second = schedulers

    assert not is_standing_by(first)
    assert is_standing_by(second)
    assert not is_standing_by(first)


def test_when_the_working_beat_ends_the_other_takes_over(schedulers: list[GuardedScheduler]):
    first, second = schedulers
    first.tick()
    assert is_standing_by(second)

    first.close()

    assert not is_standing_by(second)
    assert is_standing_by(first)


_SWALLOWED = """
import os, signal, sys, time
import django

django.setup()
from celery import current_app
from config import beat

beat._GRACE_SECONDS = 0.2
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as Celery's beat does
beat.GuardedScheduler(app=current_app, lazy=True)
try:
    os.kill(os.getpid(), signal.SIGTERM)
except SystemExit:
    print("swallowed", flush=True)
time.sleep(60)
print("goes on")
"""


def test_a_beat_that_is_told_to_stop_ends_although_something_swallows_that():
    command = [sys.executable, "-c", _SWALLOWED]

    ended = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "swallowed\n", "")
