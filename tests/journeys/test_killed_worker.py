"""Workers that are killed outright in the middle of their work."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from accounts.models import User
from executions import services
from executions.kinds import Status
from executions.models import GraphExecution, NodeExecution, NodeOutput, Token
from tests.drawing import Drawn, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import kinds
from tests.workers import worker

NODES = 200

pytestmark = [pytest.mark.journey, pytest.mark.django_db(transaction=True)]


def long_chain(owner: User, log: Path) -> Drawn:
    """Two hundred nodes in a line, every second one doing something outside that it logs."""
    nodes = {
        f"n{n}": ("ProbeKeyed", {"seconds": 0.02, "log": str(log)}) if n % 2 else ("Calculator", _adding(n))
        for n in range(NODES)
    }
    links = [f"n{n}.result -> n{n + 1}.value" if n % 2 == 0 else f"n{n}.value -> n{n + 1}.a" for n in range(NODES - 1)]
    return draw(owner, nodes, links)


def _adding(n: int) -> dict[str, object]:
    return {"operation": "Add", "b": 1, **({"a": 0} if n == 0 else {})}


def test_a_run_survives_kill_9_and_records_each_result_once(owner: User, tmp_path: Path) -> None:
    log = tmp_path / "turns"
    with worker(tmp_path / "first.log") as first:
        graph = long_chain(owner, log)
        run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={})
        eventually(lambda: NodeExecution.objects.filter(run=run.pk).count() >= NODES // 2, timeout=30)
        first.send_signal(signal.SIGKILL)
        first.wait(5)
    assert GraphExecution.objects.get(pk=run.pk).status == Status.RUNNING
    with worker(tmp_path / "second.log"):
        done = ended(run.pk, timeout=30)
    assert done.status == Status.COMPLETED
    assert done.node_count == NODES
    assert done.fence == 2
    activations = NodeExecution.objects.filter(run=run.pk)
    assert activations.count() == NODES
    assert set(activations.values_list("ordinal", "status")) == {(0, Status.COMPLETED)}
    assert NodeOutput.objects.filter(run=run.pk).count() == NODES
    last = NodeOutput.objects.get(run=run.pk, node_execution__node_id=graph.nodes[f"n{NODES - 1}"])
    assert last.value == NODES / 2
    assert not Token.objects.filter(run=run.pk).exists()
    assert Counter(kinds(done))["node.completed"] == NODES
    # Only the block that was under way when the worker died may have run twice, with the same key.
    turns = Counter(line.split()[0] for line in log.read_text().splitlines())
    assert len(turns) == NODES // 2
    assert sorted(turns.values())[:-1] == [1] * (NODES // 2 - 1)
