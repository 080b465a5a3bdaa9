"""What the docs lead through, on platforms that were just started. Run by `make tour`: one waits for a minute."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fake_stripe import FakeStripe
from tests.fake_stripe.server import API_KEY, SECRET
from tests.journeys.test_up import ROOT, Up, a_free_port, home

__all__ = ["home"]


@pytest.mark.timeout(300)
def test_the_tour_of_the_docs_comes_to_its_end(home: Path) -> None:
    port = a_free_port()
    with FakeStripe.running() as stripe:
        stripe.webhook = f"http://127.0.0.1:{port}/api/credits/stripe_webhook"
        variables = {
            "TASKLOOM_CREDITS": "paid",
            "STRIPE_API_KEY": API_KEY,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": stripe.origin,
        }
        with Up(home, port=port, variables=variables) as up:
            done = take_the_tour(up, variables)
            assert "answered 402: You have no credits to run graphs with. Top up, or ask for less.\n" in up.said
            assert "`manage.py give_credits demo@taskloom.local 500" in up.said

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "That was the tour."
    assert '{"graph_name":"Tour","status":"COMPLETED","outputs":{"shout":["WORLD!"]}}' in lines
    assert '[{"shout":"WORLD!"}]' in lines
    assert '{"status":"COMPLETED","inputs":{"who":"everybody"}}' in lines
    assert '{"estimated_from":"limits","p50":40,"worst":200}' in lines
    assert '{"status":"FAILED","error_code":"budget_exceeded"}' in lines
    assert '{"credits":10}' in lines
    assert '{"status":"COMPLETED","outputs":{"shout":["THE SECOND!"]}}' in lines
    assert '{"transaction_type":"TOP_UP","amount":500,"running_balance":510}' in lines
    assert "0 mismatches" in lines
    assert "With it the answer is: The API key is revoked." in lines
    assert lines[lines.index("Meanwhile, run it by hand and watch.") + 1].endswith("  run  QUEUED")
    assert "With the link it is: This link leads nowhere: the run is not shared, or no longer by this link." in lines
    assert done.stderr == ""


def test_a_login_that_fails_ends_the_tour() -> None:
    tour = ["sh", str(ROOT / "docs" / "tour.sh"), "ann@example.com", "wrong", f"http://127.0.0.1:{a_free_port()}"]
    done = subprocess.run(tour, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, "\nLog in.\n")


@pytest.mark.timeout(120)
def test_the_guide_to_webhooks_works_as_it_is_written(home: Path) -> None:
    port = a_free_port()
    with Up(home, port=port, variables={"PLATFORM_BASE_URL": f"http://127.0.0.1:{port}"}) as up:
        login = up.says(r"log in +(\S+) / (\S+)")
        _, *blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
        script = "\n".join(blocks).replace("PASSWORD=…", f"PASSWORD={login[2]}").replace(":8000", f":{port}")
        script += "\nsleep 2; ask $API/graphs/$GRAPH/executions | jq -c '[.executions[].status]'"
        done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nullnull")
    assert done.stdout.count("order-7") == 1
    assert '{"customer":["Ada"]}' in done.stdout
    assert '"config":{"signed":true}' in done.stdout
    assert done.stdout.endswith('null["COMPLETED","COMPLETED"]\n')


def take_the_tour(up: Up, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the script beside a platform with these settings."""
    login = up.says(r"log in +(\S+) / (\S+)")
    command = [ROOT / "docs" / "tour.sh", login[1], login[2], f"http://127.0.0.1:{up.port}"]
    environment = {
        **os.environ,
        **variables,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "TASKLOOM_HOME": str(up.home),
        "MANAGE": f"{sys.executable} {ROOT / 'manage.py'}",
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
