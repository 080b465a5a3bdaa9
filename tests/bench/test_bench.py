"""The benchmark runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.journey
@pytest.mark.timeout(120)
def test_one_group_is_measured_shown_beside_its_target_and_kept(tmp_path):
    kept = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", "--rounds", "1", "--only", "io", "--json", str(kept)]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    (section,) = json.loads(kept.read_text())["sections"]
    (line,) = section["lines"]
    assert (line["what"], line["how"], line["unit"]) == ("100 nodes that wait 200 ms", "in process", "ms")
    assert [value > 200 for value in line["values"]] == [True]
    assert [check["target"] for check in line["checks"]] == ["≤ 500 ms"]
    assert "100 nodes that wait 200 ms" in done.stdout


def test_an_unknown_group_is_refused_with_the_names_of_those_there_are():
    command = [sys.executable, "-m", "tests.bench", "--only", "W9"]

    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert refused.returncode == 2
    assert (
        "--only knows W1, W2, W3, W4, W5a, W5b, effects, io, requests, sockets, memory, growth, stream, credits, not W9"
        in refused.stderr
    )
