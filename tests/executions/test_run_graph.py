"""`manage.py run_graph`: a graph from a file to its results."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from config.management.commands import run_graph
from executions.models import GraphExecution
from graphs.models import Graph
from tests import make

ROOT = Path(__file__).resolve().parents[2]

RunGraph = Callable[..., int]


@pytest.fixture
def run_command(owner: User, monkeypatch: pytest.MonkeyPatch) -> RunGraph:
    """Runs the command for the owner and returns its exit code."""
    # No worker will come: the command need not wait for one.
    monkeypatch.setattr(run_graph, "_PATIENCE", 0.0)

    def call(file: Path, *arguments: str) -> int:
        try:
            call_command("run_graph", str(file), "--owner", owner.email, *arguments)
        except SystemExit as leaving:
            return int(str(leaving.code))
        except CommandError as error:
            sys.stderr.write(str(error))
            return error.returncode
        return 0

    return call


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a graph to a file."""

    def write(drawing: Any) -> Path:
        path = tmp_path / "graph.json"
        path.write_text(json.dumps(drawing))
        return path

    return write


def test_a_graph_runs_to_its_results(
    run_command: RunGraph, save: Callable[[Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(save(make.a_drawing()), "--input", "who=World") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert [line.split()[0] for line in lines[:3]] == ["COMPLETED"] * 3
    assert "who (AgentInput)  result='World'" in lines[0]
    assert "FillTextTemplate  output='WORLD!'" in lines[1]
    assert lines[3] == "shout: WORLD!"
    assert lines[4].startswith("COMPLETED after ")
    assert "\x1b" not in "".join(lines)


def test_with_json_there_is_one_object_and_nothing_else(
    run_command: RunGraph, save: Callable[[Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(save(make.a_drawing()), "--json", "--input", "who=World") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    run = GraphExecution.objects.get()
    assert set(report) == {"run_id", "graph_id", "status", "error", "duration", "outputs", "nodes"}
    assert (report["run_id"], report["graph_id"]) == (str(run.pk), str(run.graph_id))
    assert (report["status"], report["error"], report["outputs"]) == ("COMPLETED", None, {"shout": ["WORLD!"]})
    assert [(node["block"], node["status"], node["output"]) for node in report["nodes"]] == [
        ("AgentInputBlock", "COMPLETED", {"result": ["World"]}),
        ("FillTextTemplateBlock", "COMPLETED", {"output": ["WORLD!"]}),
        ("AgentOutputBlock", "COMPLETED", {"output": ["WORLD!"], "name": ["shout"]}),
    ]


def test_a_dry_run_has_no_effects(
    run_command: RunGraph, save: Callable[[Any], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    drawing = make.a_drawing(
        {"call": ("ProbeKeyed", {"log": str(log), "value": "real"}), "out": ("AgentOutput", {"name": "given"})},
        ["call.value -> out.value"],
    )
    assert run_command(save(drawing), "--dry-run") == 0
    assert "given: 1" in capsys.readouterr().out.splitlines()
    assert GraphExecution.objects.get().is_dry_run
    assert not log.exists()
    assert run_command(save(drawing)) == 0
    assert "given: real" in capsys.readouterr().out.splitlines()
    assert log.exists()


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ("who=World", "World"),
        ("who=", ""),
        ("who=a=b", "a=b"),
        ("who=[1, 2]", [1, 2]),
        ('who="7"', "7"),
        ("who=7", 7),
        ("who=@{file}", {"from": "a file"}),
    ],
)
def test_an_input_is_json_if_it_can_be_read_as_such_else_text(
    run_command: RunGraph, save: Callable[[Any], Path], tmp_path: Path, given: str, received: object
) -> None:
    (tmp_path / "value.json").write_text('{"from": "a file"}')
    file = save(make.a_drawing({"in": ("AgentInput", {"name": "who"})}))
    assert run_command(file, "--json", "--input", given.replace("{file}", str(tmp_path / "value.json"))) == 0
    assert GraphExecution.objects.get().inputs == {"who": received}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], 'This input is required: give "who" in inputs'),
        (["--input", "whom=x"], "The graph has no input 'whom'; its inputs are who"),
        (["--input", "who=x", "--timeout", "0"], "--timeout must be more than 0 seconds"),
        (["--input", "who"], "--input is NAME=VALUE, not 'who'"),
        (["--input", "=x"], "--input is NAME=VALUE, not '=x'"),
        (["--input", "who=@/no/such/file"], "/no/such/file cannot be read"),
        (["--owner", "nobody@example.com"], "There is no user nobody@example.com; name one with --owner"),
    ],
)
def test_what_cannot_be_used_is_told_and_leaves_nothing_behind(
    run_command: RunGraph,
    save: Callable[[Any], Path],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    assert run_command(save(make.a_drawing()), *arguments) == run_graph.BAD_INPUT
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""
    assert not Graph.objects.exists()
    assert not GraphExecution.objects.exists()


@pytest.mark.parametrize("drawing", ["not a graph", {"name": "x", "nodes": [{"id": "a", "block_id": "nothing"}]}])
def test_a_file_that_is_no_sound_graph_is_refused(
    run_command: RunGraph, save: Callable[[Any], Path], drawing: object
) -> None:
    assert run_command(save(drawing)) == run_graph.BAD_INPUT
    assert not Graph.objects.exists()


def test_a_file_that_is_not_there_is_refused(run_command: RunGraph, tmp_path: Path) -> None:
    assert run_command(tmp_path / "absent.json") == run_graph.BAD_INPUT


def test_a_run_that_takes_too_long_is_stopped(run_command: RunGraph, save: Callable[[Any], Path]) -> None:
    file = save(make.a_drawing({"wait": ("CountdownTimer", {"seconds": 600, "input_message": "late"})}))
    assert run_command(file, "--timeout", "0.3") == run_graph.TIMED_OUT
    assert GraphExecution.objects.get().status == "TERMINATED"


@pytest.mark.journey
@pytest.mark.timeout(120)
def test_on_a_machine_where_nothing_runs_it_starts_what_it_needs(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    environment |= {"TASKLOOM_HOME": str(tmp_path / "home"), "DJANGO_SETTINGS_MODULE": "config.settings"}
    example = json.loads((ROOT / "graphs/examples/running_total.expected.json").read_text())["examples"][0]
    command = [sys.executable, "manage.py", "run_graph", "graphs/examples/running_total.json", "--json"]
    for name, value in example["inputs"].items():
        command += ["--input", f"{name}={json.dumps(value)}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == example["outputs"]
