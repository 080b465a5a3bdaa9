import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from config.up.children import Child
from config.up.console import LogTail
from config.up.supervisor import Supervisor
from tests.waiting import wait_until

# Says when it is there, and writes its name into a common file when it is asked to stop.
OBEDIENT = """
import signal, sys, time
def stop(*_):
    with open(sys.argv[2], "a") as file:
        print(sys.argv[1], file=file)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def obedient(name: str, folder: Path) -> Child:
    return Child(name, [sys.executable, "-c", OBEDIENT, name, str(folder / "stopped")], folder / f"{name}.log")


def is_ready(child: Child) -> bool:
    return child.log.exists() and b"ready" in child.log.read_bytes()


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


@asynccontextmanager
async def watched(supervisor: Supervisor) -> AsyncIterator[None]:
    supervisor.start()
    watching = asyncio.create_task(supervisor.watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        supervisor.stop()


async def until(condition, seconds: float = 20) -> None:
    await asyncio.to_thread(wait_until, condition, seconds)


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(
        web=obedient("web", tmp_path),
        workers=[obedient("worker1", tmp_path), obedient("worker2", tmp_path)],
        beat=obedient("beat", tmp_path),
        embedded=None,
    )


async def test_a_child_that_is_killed_is_started_again(supervisor: Supervisor, capsys: pytest.CaptureFixture[str]):
    worker = supervisor.children[1]

    async with watched(supervisor):
        first = pid_of(worker)
        os.kill(first, signal.SIGKILL)
        await until(lambda: worker.process is not None and worker.process.pid != first)

    assert worker.deaths == 1
    assert "worker1 ended (signal SIGKILL); starting it again in 0.5 s." in capsys.readouterr().out


async def test_the_children_stop_in_the_order_beat_workers_web(supervisor: Supervisor, tmp_path: Path):
    async with watched(supervisor):
        await until(lambda: all(is_ready(child) for child in supervisor.children))

    beat, *workers, web = (tmp_path / "stopped").read_text().split()
    assert (beat, sorted(workers), web) == ("beat", ["worker1", "worker2"], "web")


def test_a_child_that_dies_at_once_is_tried_again_ever_later(tmp_path: Path):
    child = Child("web", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "web.log")
    announced: list[str] = []

    def third_time() -> bool:
        trouble = child.keep_alive()
        announced.extend([trouble] if trouble else [])
        return len(announced) == 3

    wait_until(third_time)

    assert [text.partition(";")[2].partition(".  ")[0].split(" Its")[0] for text in announced] == [
        " starting it again in 0.5 s.",
        " starting it again in 1 s.",
        " starting it again in 2 s.",
    ]
    assert all(text.startswith("web ended (exit code 3)") for text in announced)


def test_a_child_that_does_not_obey_is_killed_when_its_patience_is_over(tmp_path: Path):
    child = Child("web", [sys.executable, "-c", STUBBORN], tmp_path / "web.log", patience=0.2)
    child.start()
    wait_until(lambda: is_ready(child))
    process = child.process
    assert process is not None

    child.stop()

    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a child follow its parent")
def test_a_child_follows_a_supervisor_that_is_killed(tmp_path: Path):
    parent = (
        "import sys, time; from pathlib import Path; from config.up.children import Child\n"
        "child = Child('web', [sys.executable, '-c', sys.argv[1], 'web', sys.argv[2]], Path(sys.argv[3]))\n"
        "child.start(); time.sleep(600)"
    )
    log, stopped = tmp_path / "web.log", tmp_path / "stopped"
    process = subprocess.Popen([sys.executable, "-c", parent, OBEDIENT, str(stopped), str(log)])
    wait_until(lambda: log.exists() and b"ready" in log.read_bytes())

    process.kill()
    process.wait()

    wait_until(lambda: stopped.exists() and stopped.read_text() == "web\n")


def test_only_warnings_and_errors_of_a_log_are_passed_on_each_once_and_whole(tmp_path: Path):
    path = tmp_path / "web.log"
    path.write_text("2026-01-01 ERROR old news\n")
    tail = LogTail(path)
    assert list(tail.news()) == []

    with path.open("a") as log:
        log.write("INFO:     started\nWARNING:  careful\n2026-01-01 ERROR core it ")
        log.flush()
        assert list(tail.news()) == ["WARNING:  careful"]
        log.write("broke\n[2026-01-01: CRITICAL/MainProcess] worse\n    . logfile -> [stderr]@%WARNING\n")
        log.flush()

    assert list(tail.news()) == ["2026-01-01 ERROR core it broke", "[2026-01-01: CRITICAL/MainProcess] worse"]
    assert list(tail.news()) == []
