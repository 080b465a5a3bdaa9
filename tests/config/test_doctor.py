import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    answer = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "doctor", "--json", *arguments],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == ""
    return answer.returncode, json.loads(answer.stdout)


def finding(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in report["findings"] if each["name"] == name)


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_all_is_well_on_running_services():
    code, report = doctor("--port", str(a_free_port()))

    assert (code, report["ok"]) == (0, True)
    assert [each["name"] for each in report["findings"]] == [
        "python",
        "home",
        "disk space",
        "postgres user",
        "port",
        "settings",
        "postgres",
        "migrations",
        "files",
        "scanner",
        "redis",
        "broker",
        "workers",
        "beat",
        "channel layer",
    ]
    assert [finding(report, name)["message"] for name in ("workers", "beat")] == ["none answers", "none works"]
    assert finding(report, "postgres")["message"].startswith("18.")


def test_a_port_that_somebody_else_has_is_ill_and_the_cure_names_another():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        code, report = doctor("--port", str(port))

    assert (code, report["ok"]) == (1, False)
    ill = [each for each in report["findings"] if not each["ok"]]
    assert [each["name"] for each in ill] == ["port"]
    assert f"{port} is taken" in ill[0]["message"]
    assert "another port" in ill[0]["cure"]


class Healthy(BaseHTTPRequestHandler):
    """A web server of a platform, as far as its /health goes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status":"healthy"}')

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_platform_that_answers_without_workers_and_beat_is_ill():
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        code, report = doctor("--port", str(server.server_port))
        server.shutdown()

    assert (code, finding(report, "port")["ok"]) == (1, True)
    assert [each for each in report["findings"] if not each["ok"]] == [
        {
            "name": "workers",
            "ok": False,
            "message": "none answers",
            "cure": "Start one: `celery -A config worker -Q runs,isolated,default`.",
        },
        {"name": "beat", "ok": False, "message": "none works", "cure": "Start it: `celery -A config beat`."},
    ]


def test_a_database_that_does_not_answer_is_ill_and_the_rest_is_examined_all_the_same():
    port = a_free_port()

    code, report = doctor(
        "--port",
        str(a_free_port()),
        DATABASE_URL=f"postgresql://nobody:secret@127.0.0.1:{port}/nothing",
        DJANGO_SECRET_KEY="x" * 10 + "abcdefghijklmnopqrstuvwxyz0123456789",
        JWT_SIGNING_KEY="x" * 10 + "abcdefghijklmnopqrstuvwxyz0123456789",
    )

    assert code == 1
    assert {each["name"] for each in report["findings"] if not each["ok"]} == {"postgres"}
    assert finding(report, "postgres")["cure"] == "Start it, or correct DATABASE_URL."
    assert "secret" not in json.dumps(report)
    assert finding(report, "channel layer")["ok"] is True


def test_a_weak_secret_is_ill():
    code, report = doctor("--port", str(a_free_port()), JWT_SIGNING_KEY="password")

    assert code == 1
    assert finding(report, "settings") == {
        "name": "settings",
        "ok": False,
        "message": "JWT_SIGNING_KEY cannot be used: it is shorter than 32 bytes. (config.E002)",
        "cure": "Set it to the output of: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
    }


def test_a_storage_that_cannot_be_written_and_a_scanner_that_is_away_are_ill():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        clamd = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        code, report = doctor(
            "--port", str(a_free_port()), TASKLOOM_FILES_URL="file:///dev/null/files", TASKLOOM_CLAMD_URL=clamd
        )

    assert code == 1
    files, scanner = finding(report, "files"), finding(report, "scanner")
    assert (files["ok"], scanner["ok"]) == (False, False)
    assert files["cure"] == "Make it writable for this user, or correct TASKLOOM_FILES_URL."
    assert scanner["message"].startswith("The virus scanner does not answer")


def test_a_command_without_a_database_says_what_to_do(tmp_path: Path):
    answer = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "why", "01980000-0000-7000-8000-000000000000"],
        env={**os.environ, "DATABASE_URL": "", "REDIS_URL": "", "TASKLOOM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert "\nThe database does not answer: " in answer.stderr
    assert "Start the platform: `make run` in another terminal." in answer.stderr
    assert "Traceback" not in answer.stderr
