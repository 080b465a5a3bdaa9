"""`manage.py up`, from the first start to the last."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Self

import httpx2
import psycopg
import pytest
from django.core.management import CommandError, call_command

from config.embedded import Embedded, is_running
from config.embedded.paths import database_url, redis_url
from tests.waiting import wait_until

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {
    json.loads(path.read_text())["name"]
    for path in (ROOT / "graphs" / "examples").glob("*.json")
    if not path.name.endswith(".expected.json")
}


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="taskloom-up-")).resolve()
    yield folder / "home"
    shutil.rmtree(folder)


@dataclass
class Up:
    """One `manage.py up`, with its output in a file."""

    home: Path
    arguments: tuple[str, ...] = ()
    port: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)
    _log: Path = field(init=False)

    def __enter__(self) -> Self:
        self.port = self.port or a_free_port()
        self._log = self.home.parent / f"up-{self.port}.txt"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "TASKLOOM_HOME": str(self.home),
            "TASKLOOM_DEMO_PASSWORD": "",
            **self.variables,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "manage.py", "up", "--port", str(self.port), *self.arguments],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def ends(self) -> int:
        return self.process.wait(120)

    def says(self, pattern: str) -> "re.Match[str]":
        """Wait until its output matches."""
        wait_until(lambda: re.search(pattern, self.said) or self.process.poll() is not None, 90)
        found = re.search(pattern, self.said)
        assert found, self.said
        return found

    @contextmanager
    def client(self) -> Iterator[httpx2.Client]:
        """A REST client of the demo user, whose login it printed."""
        login = self.says(r"log in +(\S+) / (\S+)")
        with httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False) as client:
            answer = client.post("/api/auth/token", json={"email": login[1], "password": login[2]})
            assert answer.status_code == 200, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access']}"
            yield client


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_of(home: Path) -> dict[int, str]:
    """Every process whose environment or command line names this home."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(home) in command or f"TASKLOOM_HOME={home}\0" in environment:
            found[int(folder.name)] = command
    return found


def workers_of(home: Path) -> set[int]:
    return {pid for pid, command in processes_of(home).items() if " worker " in command}


def result_of(client: httpx2.Client, graph: dict[str, Any]) -> dict[str, Any]:
    run = client.post(f"/api/graphs/{graph['id']}/execute/{graph['version']}", json={"inputs": {}})
    assert run.status_code == 200, run.text
    address = f"/api/graphs/{graph['id']}/executions/{run.json()['id']}"
    wait_until(lambda: client.get(address).json()["status"] not in ("QUEUED", "RUNNING"), 60)
    return dict(client.get(address).json())


def doctor(home: Path, port: int) -> list[dict[str, Any]]:
    """What the doctor finds on a platform."""
    command = [sys.executable, str(ROOT / "manage.py"), "doctor", "--json", "--port", str(port)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "TASKLOOM_HOME": str(home)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    findings: list[dict[str, Any]] = json.loads(told.stdout)["findings"]
    return findings


def test_once_shows_the_example_run_and_leaves_nothing_running(home: Path):
    with Up(home, ("--once",)) as up:
        assert up.ends() == 0, up.said

    assert "Number table: COMPLETED" in up.said
    assert '  row: {"cube": 27.0, "half": 1.5, "number": 3, "square": 9.0}' in up.said
    assert up.said.splitlines()[-3:] == [
        "The run ended as COMPLETED.",
        "Stopping …",
        f"Stopped. The data stays in {home}",
    ]
    logs = {path.stem: path.read_text() for path in (home / "logs").iterdir()}
    assert logs.keys() == {"postgres", "valkey", "web", "worker1", "worker2", "beat"}
    assert '"WebSocket /ws?token=…" [accepted]' in logs["web"]
    for name in ("web", "worker1", "worker2", "beat"):
        assert not re.search("warning|error|traceback", logs[name], re.IGNORECASE), logs[name]
    assert processes_of(home) == {}


def test_a_platform_outlives_its_workers_refuses_a_second_and_keeps_its_data(home: Path):
    with Up(home) as up, up.client() as client:
        graphs = {graph["name"]: graph for graph in client.get("/api/graphs").json()}
        assert graphs.keys() >= EXAMPLES

        before = workers_of(home)
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert result_of(client, graphs["Number table"])["status"] == "COMPLETED"
        wait_until(lambda: len(workers_of(home) - before) == 2)
        assert up.said.count("ended (signal SIGKILL); starting it again in 0.5 s.") == 2

        with Up(home, ("--port", str(up.port))) as second:
            assert second.ends() == 1
        assert f"{home} is in use by another Taskloom (process {up.process.pid})." in second.said
        with Up(home.parent / "another", port=up.port) as third:
            assert third.ends() == 1
        assert f"Port {up.port} is taken by another program. Choose another one with --port" in third.said
        assert client.get("/health").json() == {"status": "healthy"}

        found = {each["name"]: each for each in doctor(home, up.port)}
        assert [each for each in found.values() if not each["ok"]] == []
        assert found["workers"]["message"] == "2 answer, on the queues default, isolated, runs"
        assert found["beat"]["message"] == "works"

        runs = client.get("/api/executions").json()
        up.process.send_signal(signal.SIGINT)
        assert up.ends() == 0
    assert processes_of(home) == {}
    assert not is_running(home)

    with Up(home) as again, again.client() as client:
        assert {graph["name"]: graph["id"] for graph in client.get("/api/graphs").json()} == {
            name: graph["id"] for name, graph in graphs.items()
        }
        assert {run["id"] for run in runs} < {run["id"] for run in client.get("/api/executions").json()}


def test_a_platform_that_is_killed_outright_leaves_nothing_running_and_starts_again(home: Path):
    with Up(home, ("--no-demo",)) as up:
        up.says("Taskloom is up at")
        up.process.kill()
        up.process.wait()
        wait_until(lambda: processes_of(home) == {}, 40)

    with Up(home, ("--once",)) as again:
        assert again.ends() == 0, again.said


def test_servers_that_the_environment_names_are_used_and_left_running(home: Path):
    elsewhere = home.parent / "elsewhere"
    servers = {"DATABASE_URL": database_url(elsewhere), "REDIS_URL": redis_url(elsewhere)}
    secrets = {"DJANGO_SECRET_KEY": token_urlsafe(64), "JWT_SIGNING_KEY": token_urlsafe(64)}

    with Embedded(elsewhere):
        with Up(home, ("--once",), variables={**servers, **secrets}) as up:
            assert up.ends() == 0, up.said
        with psycopg.connect(servers["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT status FROM executions_graphexecution").fetchall() == [("COMPLETED",)]

    assert not (home / "postgres").exists()
    assert not (home / "valkey").exists()


def test_a_database_of_ones_own_needs_secrets_of_ones_own(home: Path):
    variables = {"DATABASE_URL": "postgresql://localhost/taskloom", "DJANGO_SECRET_KEY": ""}

    with Up(home, variables=variables) as up:
        assert up.ends() == 1

    assert "DJANGO_SECRET_KEY must be set when DATABASE_URL is" in up.said


def test_what_cannot_be_meant_is_refused_before_anything_starts(home: Path):
    with Up(home, ("--once", "--no-demo")) as up:
        assert up.ends() == 1
    assert "--once waits for the example run, which --no-demo leaves out: give one of them." in up.said
    with Up(home, ("--workers", "0")) as up:
        assert up.ends() == 1
    assert "--workers must be at least 1." in up.said
    for command in ("up", "doctor"):
        with pytest.raises(CommandError, match=r"^--port must be from 1 to 65535\.$"):
            call_command(command, port=80000)
    with Up(home, ("--host", "192.0.2.1")) as up:
        assert up.ends() == 1
    assert "192.0.2.1 is no address of this machine" in up.said

    assert not (home / "postgres").exists()
