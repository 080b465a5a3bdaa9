"""A file has a graph as clients send it, the run's inputs and masks, and what came of it: turns, outputs, end.

To record another run, add a file with `graph` and `inputs` to the folder of the release, then `make record`. What a
release has recorded stays as it is.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from accounts.models import User
from executions import reading, services
from executions.engine.engine import Engine
from executions.models import GraphExecution, NodeExecution, NodeOutput
from graphs.schemas import GraphDraft
from graphs.services import create_graph, load_definition
from tests.executions.conftest import ended

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*/*.json"))


@pytest.fixture
def engine(transactional_db: None) -> Iterator[Engine]:
    """An engine that drives runs until the test is over."""
    engine = Engine()
    engine.start()
    yield engine
    engine.stop(grace=1)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_run_is_what_it_was(owner: User, engine: Engine, request: pytest.FixtureRequest, path: Path) -> None:
    record = json.loads(path.read_text())
    version = create_graph(owner, GraphDraft.model_validate(record["graph"]))
    drawn = [node["id"] for node in record["graph"]["nodes"]]
    saved = [node.id for node in load_definition(version.graph_id, version.version).nodes]
    names = dict(zip(saved, drawn, strict=True))
    ids = dict(zip(drawn, saved, strict=True))
    masks = {str(ids[name]): mask for name, mask in record.get("masks", {}).items()}
    run = services.start_run(
        version.graph_id,
        version.version,
        user_id=owner.pk,
        inputs=record["inputs"],
        nodes_input_masks=masks,
        ring=False,
    )
    engine.ring([run.pk])
    made = what_came_of(ended(run.pk), names)

    if request.config.getoption("record", default=False) and "turns" not in record:
        path.write_text(json.dumps({**record, **made}, indent=2, ensure_ascii=False) + "\n")
    else:
        assert made == {key: record[key] for key in made}


def what_came_of(run: GraphExecution, names: dict[UUID, str]) -> dict[str, Any]:
    """How the run ended, what it gave, and each turn of each node, with nodes by their names."""
    given: dict[UUID, list[list[Any]]] = {}
    for output in NodeOutput.objects.filter(run=run.pk).order_by("node_execution_id", "ordinal"):
        given.setdefault(output.node_execution_id, []).append([output.pin, output.value])
    turns = [
        {
            "node": names[node.node_id],
            "turn": node.ordinal,
            "status": node.status,
            "inputs": node.input_data,
            "outputs": given.get(node.pk, []),
            "error": node.error,
        }
        for node in NodeExecution.objects.filter(run=run.pk)
    ]
    order = list(names.values())
    return {
        "status": run.status,
        "stalled": {names[UUID(one["node_id"])]: one["missing"] for one in run.stalled},
        "outputs": reading.run_detail(run)["outputs"],
        "turns": sorted(turns, key=lambda turn: (order.index(turn["node"]), turn["turn"])),
    }
