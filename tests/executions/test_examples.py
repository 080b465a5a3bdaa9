"""The graphs that come with the platform give what is stated beside them."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from executions import reading, services
from executions.engine.engine import Engine
from graphs.schemas import GraphDraft
from graphs.services import create_graph
from tests.executions.conftest import ended

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
EXAMPLES = [
    pytest.param(path, number, id=f"{path.stem}-{number}")
    for path in sorted((GRAPHS / "examples").glob("*.json"))
    if not path.name.endswith(".expected.json")
    for number in range(len(json.loads(path.with_suffix(".expected.json").read_text())["examples"]))
]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and does not print."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def feed(settings: Settings) -> Iterator[str]:
    """The address of the sample feed on a server of the test's own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(GRAPHS / "static")))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings.HTTP_ALLOW_PRIVATE = [f"127.0.0.1:{server.server_port}"]
    yield f"http://127.0.0.1:{server.server_port}/examples/feed.json"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("path", "number"), EXAMPLES)
def test_an_example_gives_what_is_stated_beside_it(
    owner: User, engine: Engine, feed: str, path: Path, number: int
) -> None:
    example = json.loads(path.with_suffix(".expected.json").read_text())["examples"][number]
    version = create_graph(owner, GraphDraft.model_validate_json(path.read_text()))
    inputs = {**example["inputs"], **({"url": feed} if path.stem == "feed_report" else {})}
    run = services.start_run(version.graph_id, version.version, user_id=owner.pk, inputs=inputs, ring=False)
    engine.ring([run.pk])
    detail = reading.run_detail(ended(run.pk))
    assert detail["status"] == "COMPLETED"
    assert detail["outputs"] == example["outputs"]


def test_there_are_at_least_five(db: None) -> None:
    assert len({param.values[0] for param in EXAMPLES}) >= 5
