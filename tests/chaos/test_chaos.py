"""A short round of random chaos. `make chaos` plays longer ones."""

import os
import subprocess
import sys

import pytest

from tests.workers import ROOT


@pytest.mark.journey
@pytest.mark.timeout(240)
def test_nothing_is_lost_doubled_or_left_out_whatever_fails() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "8", "--seeds", "1"]
    played = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "Nothing wrong in " in played.stdout
