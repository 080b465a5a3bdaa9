"""The tour of the docs, on a platform that was just started. Run by `make tour`: it waits for a minute to pass."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.journeys.test_up import ROOT, Up, home

__all__ = ["home"]


@pytest.mark.timeout(240)
def test_the_tour_of_the_docs_comes_to_its_end(home: Path) -> None:
    with Up(home) as up:
        login = up.says(r"log in +(\S+) / (\S+)")
        command = [ROOT / "docs" / "tour.sh", login[1], login[2], f"http://127.0.0.1:{up.port}"]
        environment = {**os.environ, "no_proxy": "127.0.0.1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "That was the tour."
    assert '{"graph_name":"Tour","status":"COMPLETED","outputs":{"shout":["WORLD!"]}}' in lines
    assert '[{"shout":"WORLD!"}]' in lines
    assert '{"status":"COMPLETED","inputs":{"who":"everybody"}}' in lines
    assert "With it the answer is: The API key is revoked." in lines
    assert lines[lines.index("Meanwhile, run it by hand and watch.") + 1].endswith("  run  QUEUED")
    assert "With the link it is: This link leads nowhere: the run is not shared, or no longer by this link." in lines
    assert done.stderr == ""
