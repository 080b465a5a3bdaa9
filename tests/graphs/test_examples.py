"""The example graphs are sound, runnable, and say what they must give."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

import graphs
from accounts.models import User
from graphs import services
from graphs.checks import Findings, check_run
from graphs.models import GraphVersion
from graphs.schemas import GraphDraft
from graphs.stripping import strip_node

FOLDER = Path(graphs.__file__).parent / "examples"
NAMES = sorted(path.name.removesuffix(".json") for path in FOLDER.glob("*.json") if ".expected" not in path.name)


def content(name: str, suffix: str = "") -> Any:
    return json.loads((FOLDER / f"{name}{suffix}.json").read_text())


def test_there_are_at_least_five_and_each_has_its_outputs() -> None:
    assert len(NAMES) >= 5
    assert {path.name for path in FOLDER.glob("*.expected.json")} == {f"{name}.expected.json" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_can_be_imported_and_run_with_its_inputs(name: str, user: User) -> None:
    version = services.create_graph(user, GraphDraft.model_validate(content(name)))
    definition = services.load_definition(version.graph_id, version.version)
    outputs = {node.input_default.get("name") for node in definition.nodes}
    examples = content(name, ".expected")["examples"]
    assert len(examples) >= 2
    for example in examples:
        assert check_run(definition, inputs=example["inputs"]) == Findings()
        assert example["outputs"].keys() <= outputs
    assert GraphVersion.objects.count() == 1 + len(content(name).get("sub_graphs", []))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_nothing_to_hide(name: str) -> None:
    draft = GraphDraft.model_validate(content(name))
    for node in (node for graph in (draft, *draft.sub_graphs) for node in graph.nodes):
        assert strip_node(node) == (node.input_default, node.metadata)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_explains_itself(name: str) -> None:
    draft = GraphDraft.model_validate(content(name))
    assert draft.name
    assert draft.description.endswith(".")


def test_the_sample_feed_is_served(client: Client) -> None:
    answer = client.get("/static/examples/feed.json")
    assert answer["Content-Type"] == "application/json"
    assert len(json.loads(b"".join(answer))["items"]) == 5
