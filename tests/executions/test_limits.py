"""Nodes that are tried again, nodes and runs that are given up, and what is said of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.kinds import NodeStatus, Status
from executions.models import GraphExecution, NodeExecution
from graphs.models import Node
from tests.drawing import Drawn, draw
from tests.executions.conftest import Run, ended
from tests.executions.test_engine import emitted, kinds, output, outputs


def with_policy(graph: Drawn, node: str, **policy: Any) -> Drawn:
    """The graph with a policy in the metadata of one node."""
    Node.objects.filter(pk=graph.nodes[node]).update(metadata=policy)
    return graph


def flaky(tmp_path: Path, **more: Any) -> tuple[str, dict[str, Any]]:
    """A node that logs its turns and always fails after its outputs."""
    return "ProbeRead", {"log": str(tmp_path / "log"), "fail": "not yet", **more}


@pytest.mark.parametrize(("attempts", "turns"), [(1, 1), (3, 3)])
def test_a_node_is_tried_as_often_as_its_policy_says(
    owner: User, run: Run, tmp_path: Path, attempts: int, turns: int
) -> None:
    graph = draw(owner, {"call": flaky(tmp_path), "out": output()}, ["call.error -> out.value"])
    ended = run(with_policy(graph, "call", retry={"attempts": attempts, "seconds": 0.02}))
    assert outputs(ended) == {"out": ["RuntimeError: not yet"]}
    keys = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert keys == [[f"{ended.pk}:{graph.nodes['call']}:0", str(attempt + 1)] for attempt in range(turns)]
    failed = NodeExecution.objects.get(run=ended.pk, node_id=graph.nodes["call"])
    assert (failed.status, failed.attempt, len(failed.waits)) == (NodeStatus.FAILED, turns, turns - 1)
    assert kinds(ended).count("node.failed") == 1


def test_what_a_node_gave_before_it_failed_is_not_given_again(owner: User, run: Run, tmp_path: Path) -> None:
    graph = draw(owner, {"call": flaky(tmp_path, value="x", times=2), "out": output()}, ["call.value -> out.value"])
    ended = run(with_policy(graph, "call", retry={"attempts": 3, "seconds": 0}))
    assert outputs(ended) == {"out": ["x", "x"]}
    assert emitted(ended, graph, "call") == [("value", "x"), ("value", "x"), ("error", "RuntimeError: not yet")]


def test_a_long_pause_between_attempts_gives_the_worker_back(owner: User, run: Run, tmp_path: Path) -> None:
    graph = draw(owner, {"call": flaky(tmp_path)})
    ended = run(with_policy(graph, "call", retry={"attempts": 2, "seconds": 1.5}))
    assert ended.fence == 2
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_node_is_not_tried_again_before_what_it_needs_asks_for_it(owner: User, run: Run, tmp_path: Path) -> None:
    graph = draw(owner, {"call": flaky(tmp_path, later=0.4, recovers=True, value="x")})
    done = run(with_policy(graph, "call", retry={"attempts": 2, "seconds": 0}))
    tried = NodeExecution.objects.get(run=done.pk)
    assert (tried.status, tried.attempt, tried.waits[0]["retry"]) == (NodeStatus.COMPLETED, 2, "not yet")
    assert datetime.fromisoformat(tried.waits[0]["until"]) >= tried.started_at + timedelta(seconds=0.4)


@pytest.mark.parametrize("probe", ["ProbeRead", "ProbeThread"])
def test_a_node_that_takes_too_long_fails(owner: User, run: Run, probe: str) -> None:
    graph = draw(
        owner,
        {"slow": (probe, {"seconds": 1.0, "value": "late"}), "out": output(), "never": output("never")},
        ["slow.error -> out.value", "slow.value -> never.value"],
    )
    ended = run(with_policy(graph, "slow", timeout_seconds=0.1))
    assert ended.status == Status.COMPLETED
    assert outputs(ended) == {"out": ["Not done within 0.1 s"]}


def test_what_a_thread_gives_once_its_node_was_given_up_is_not_heard(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"slow": ("ProbeThread", {"seconds": 0.2, "value": "late"}), "out": output(), "never": output("never")},
        ["slow.error -> out.value", "slow.value -> never.value"],
    )
    # What comes late comes while it waits for the next attempt.
    ended = run(with_policy(graph, "slow", timeout_seconds=0.1, retry={"attempts": 2, "seconds": 0.5}))
    assert outputs(ended) == {"out": ["Not done within 0.1 s"]}
    assert NodeExecution.objects.get(run=ended.pk, node_id=graph.nodes["slow"]).output_count == 1


def endless(owner: User) -> Drawn:
    """A loop that nothing ends."""
    return draw(
        owner,
        {"seed": ("StoreValue", {"input": 0}), "add": ("Calculator", {"operation": "Add", "b": 1})},
        ["seed.output -> add.a", "add.result -> add.a"],
    )


def test_a_loop_without_end_stops_at_the_budget_and_is_named(owner: User, engine: Engine) -> None:
    graph = endless(owner)
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, node_budget=1000, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk, timeout=20)
    assert (done.status, done.error_code) == (Status.FAILED, "node_budget_exceeded")
    block = f"CalculatorBlock {graph.nodes['add']}"
    assert done.error in {f"The run began 1000 activations, its budget; {n} of {block}" for n in (999, 1000)}
    assert NodeExecution.objects.filter(run=run.pk).count() == 1000
    assert kinds(done)[-1] == "run.failed"


@pytest.mark.parametrize("seconds_of_pause", [0.05, 3600])
def test_a_run_ends_at_its_deadline_even_when_parked(owner: User, engine: Engine, seconds_of_pause: float) -> None:
    graph = draw(
        owner,
        {"timer": ("CountdownTimer", {"seconds": seconds_of_pause, "repeat": 1000}), "out": output()},
        ["timer.output_message -> out.value"],
    )
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, timeout_seconds=1.5, ring=False)
    engine.ring([run.pk])
    done = ended(run.pk)
    assert (done.status, done.error_code) == (Status.FAILED, "deadline_exceeded")
    assert NodeExecution.objects.get(run=run.pk, node_id=graph.nodes["timer"]).status == NodeStatus.TERMINATED


def test_branches_that_can_never_fire_are_named_in_the_finished_run(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "row": ("StoreValue", {"input": {"a": 1}}),
            "join": ("CreateDictionary", {}),
            "out": output(),
        },
        ["row.output_#_a -> join.values_#_a", "row.output_#_b -> join.values_#_b", "join.dictionary -> out.value"],
    )
    ended = run(graph)
    assert ended.status == Status.COMPLETED
    assert ended.stalled == [{"node_id": str(graph.nodes["join"]), "missing": ["values_#_b"]}]


def test_limits_are_given_over_rest_and_seen_there(
    client_of: Callable[[User], APIClient], owner: User, engine: Engine
) -> None:
    graph = endless(owner)
    client = client_of(owner)
    body = {"inputs": {}, "node_budget": 10, "timeout_seconds": 60}
    run_id = client.post(f"/api/graphs/{graph.id}/execute/1", body, format="json").json()["id"]
    ended(UUID(run_id))
    detail = client.get(f"/api/graphs/{graph.id}/executions/{run_id}").json()
    assert (detail["status"], detail["error_code"], detail["stalled"]) == ("FAILED", "node_budget_exceeded", [])
    assert len(detail["node_executions"]) == 10


@pytest.mark.parametrize(
    "body", [{"node_budget": 0}, {"node_budget": "many"}, {"timeout_seconds": 0}, {"timeout_seconds": 10**9}]
)
def test_limits_out_of_bounds_are_refused(
    client_of: Callable[[User], APIClient], owner: User, body: dict[str, Any]
) -> None:
    graph = endless(owner)
    answer = client_of(owner).post(f"/api/graphs/{graph.id}/execute/1", {"inputs": {}, **body}, format="json")
    assert answer.status_code == 422
    assert next(iter(body)) in str(answer.json()["detail"])
    assert not GraphExecution.objects.exists()
