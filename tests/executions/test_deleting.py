"""What goes with a graph that is deleted, and with a run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.models import Event, GraphExecution, NodeExecution, NodeOutput, Token
from executions.new_runs import RunRequest
from graphs.errors import GraphNotFound
from graphs.models import Graph
from tests.drawing import draw
from tests.executions.conftest import Run, ended, eventually
from tests.executions.test_engine import output

TABLES = (GraphExecution, NodeExecution, NodeOutput, Token, Event)


def test_a_graph_takes_its_runs_with_it(client_of: Callable[[User], APIClient], owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"letters": ("StepThroughItems", {"items": ["a", "b"]}), "pair": ("CreateDictionary", {}), "out": output()},
        ["letters.item -> pair.values_#_x", "out.output -> pair.values_#_y", "pair.dictionary -> out.value"],
    )
    other = draw(owner, {"one": ("StoreValue", {"input": 1})})
    kept = run(other)
    run(graph)
    assert all(table.objects.exists() for table in TABLES)
    assert client_of(owner).delete(f"/api/graphs/{graph.id}").json() == {"version_counts": 1}
    assert GraphExecution.objects.get().pk == kept.pk
    assert {table.objects.exclude(run=kept.pk).count() for table in (NodeExecution, NodeOutput, Token, Event)} == {0}


def test_a_run_whose_graph_is_deleted_under_way_leaves_nothing(
    client_of: Callable[[User], APIClient], owner: User, engine: Engine, tmp_path: Path
) -> None:
    hold, log = tmp_path / "hold", tmp_path / "log"
    hold.touch()
    graph = draw(
        owner,
        {"stuck": ("ProbeRead", {"hold": str(hold), "log": str(log)}), "out": output()},
        ["stuck.value -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(log.exists)
    client_of(owner).delete(f"/api/graphs/{graph.id}")
    hold.unlink()
    other = draw(owner, {"one": ("StoreValue", {"input": 1})})
    following = services.start_run(other.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([following.pk])
    ended(following.pk)
    assert {table.objects.exclude(run=following.pk).count() for table in (NodeExecution, NodeOutput, Event)} == {0}


def test_runs_of_a_graph_that_was_deleted_meanwhile_are_refused(owner: User) -> None:
    graph = draw(owner, {"one": ("StoreValue", {"input": 1})})
    services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    # As another process does it: this one still knows the version.
    Graph.objects.filter(pk=graph.id).delete()
    with pytest.raises(GraphNotFound):
        services.start_runs(graph.id, 1, user_id=owner.pk, runs=[RunRequest(inputs={})] * 2, ring=False)
    with pytest.raises(GraphNotFound):
        services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    assert not GraphExecution.objects.exists()
