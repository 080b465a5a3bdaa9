"""The graphs that come with the platform give what is stated beside them."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from executions import reading, services
from executions.engine.engine import Engine
from executions.models import Review
from executions.reviews import Verdict, decide
from graphs.schemas import GraphDraft
from graphs.services import create_graph
from tests.executions.conftest import ended, eventually

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


@contextmanager
def serving(folder: Path, settings: Settings) -> Iterator[str]:
    """Let blocks get the files of a folder from this address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings.HTTP_ALLOW_PRIVATE = [f"127.0.0.1:{server.server_port}"]
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def feed(settings: Settings) -> Iterator[str]:
    """The address of the sample feed on a server of the test's own."""
    with serving(GRAPHS / "static", settings) as address:
        yield f"{address}/examples/feed.json"


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


def test_the_graph_that_is_drawn_in_the_docs_gives_what_they_say(
    owner: User, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    guide = (GRAPHS.parent / "docs" / "graphs.md").read_text()
    (drawing,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    (orders,) = re.findall(r"echo '(.*)' > feed/today.json", guide)
    (tmp_path / "today.json").write_text(orders)
    version = create_graph(owner, GraphDraft.model_validate_json(drawing))
    with serving(tmp_path, settings) as address:
        inputs = {"url": f"{address}/today.json"}
        run = services.start_run(version.graph_id, version.version, user_id=owner.pk, inputs=inputs, ring=False)
        engine.ring([run.pk])
        review = eventually(lambda: Review.objects.waiting().filter(run=run).first())
        assert (review.instructions, review.payload) == ("A large order", 200)
        decide(owner.pk, [Verdict(review.node_execution_id, approved=True)])
        engine.ring([run.pk])
        detail = reading.run_detail(ended(run.pk))
    assert detail["status"] == "COMPLETED"
    said = re.search(r"the run ends with (.*)\.", guide)
    assert said
    assert re.findall(r"`(\w+): ([\d.]+)`", said[1]) == [("small", "96.0"), ("small", "80.0"), ("large", "200")]
    assert detail["outputs"] == {"small": [96.0, 80.0], "large": [200]}
