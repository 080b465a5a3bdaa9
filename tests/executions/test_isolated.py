"""Blocks in processes of their own: what they give, whom they cannot hurt, and what becomes of them."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from core import json
from executions import node_tasks, reviews, services
from executions.again import retry_run
from executions.engine.engine import Engine
from executions.engine.node_host import NodeHost
from executions.explain import why
from executions.models import Event, GraphExecution, NodeExecution, NodeTask, NodeTaskPart, Review
from executions.node_tasks import Ending, Part
from executions.reviews import Verdict
from graphs.models import Graph, Node
from tests.drawing import Drawn, block_id, draw
from tests.executions.conftest import Run, ended, eventually
from tests.executions.test_engine import output, outputs
from tests.executions.test_recovery import others_may_only_read
from tests.waiting import wait_until
from tests.workers import worker

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where probes log their turns."""
    path = tmp_path / "log"
    path.touch()
    return path


def alone(owner: User, probe: str = "ProbeApart", metadata: dict[str, Any] | None = None, **constants: Any) -> Drawn:
    """A probe with an output behind it, and one behind its errors."""
    graph = draw(
        owner,
        {"apart": (probe, {"value": 1, **constants}), "out": output(), "wrong": output("wrong")},
        ["apart.value -> out.value", "apart.error -> wrong.value"],
    )
    Node.objects.filter(pk=graph.nodes["apart"]).update(metadata=metadata or {})
    return graph


def start(graph: Drawn, owner: User) -> GraphExecution:
    """Queue a run that nobody is told about."""
    return services.start_run(graph.id, graph.version, user_id=owner.pk, inputs={}, ring=False)


def probe_of(run: GraphExecution) -> NodeExecution:
    """The activation of the run's only starting node."""
    return NodeExecution.objects.filter(run=run.pk).order_by("started_at", "pk")[0]


def keys(log: Path) -> list[str]:
    """The keys of the turns that were logged."""
    return [line.split()[0] for line in log.read_text().splitlines()]


def is_alive(log: Path) -> bool:
    """Whether the process of the first turn is there."""
    try:
        os.kill(int(log.read_text().split()[2]), 0)
    except ProcessLookupError:
        return False
    return True


# --- What they give ---------------------------------------------------------------------------------------------


def test_what_an_isolated_block_gives_is_handed_on_as_from_any_other(owner: User, run: Run, host: NodeHost) -> None:
    done = run(alone(owner, value={"a": [1, None]}, times=3))
    assert outputs(done) == {"out": [{"a": [1, None]}] * 3}
    node = probe_of(done)
    assert (node.status, node.output_count, node.attempt) == ("COMPLETED", 3, 1)
    kinds = Event.objects.filter(node_execution_id=node.pk).order_by("seq").values_list("kind", flat=True)
    assert list(dict.fromkeys(kinds)) == ["node.started", "node.waiting", "node.completed"]


def test_values_may_be_large_in_both_directions(owner: User, run: Run, host: NodeHost) -> None:
    graph = draw(
        owner,
        {"one": ("StoreValue", {"input": "x" * 100_000}), "apart": ("ProbeApart", {}), "out": ("CombineTexts", {})},
        ["one.output -> apart.value", "apart.value -> out.input"],
    )
    done = run(graph)
    part = NodeTaskPart.objects.get(task__run=done.pk)
    assert (part.count, json.decode(bytes(part.outputs))) == (1, [["value", "x" * 100_000]])
    assert done.node_error_count == 0


def test_any_node_is_isolated_that_asks_for_it(owner: User, run: Run, host: NodeHost) -> None:
    graph = draw(owner, {"one": ("StoreValue", {"input": "v"}), "out": output()}, ["one.output -> out.value"])
    Node.objects.filter(pk=graph.nodes["one"]).update(metadata={"isolated": True})
    done = run(graph)
    assert outputs(done) == {"out": ["v"]}
    assert list(probe_of(done).waits[0]) == ["task", "outputs"]


def test_an_isolated_block_may_wait_like_any_other(owner: User, run: Run, host: NodeHost) -> None:
    done = run(alone(owner, value="x", ends="sleep"))
    assert outputs(done) == {"out": ["x", "x after 1"]}


def test_an_attempt_that_fails_is_followed_by_the_next(owner: User, run: Run, host: NodeHost, log: Path) -> None:
    policy = {"retry": {"attempts": 2, "seconds": 0}}
    done = run(alone(owner, metadata=policy, times=2, fail="not yet", recovers=True, log=str(log)))
    assert outputs(done) == {"out": [1, 1]}
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["1", "2"]
    assert len(set(keys(log))) == 1


def test_what_an_isolated_block_raises_goes_out_on_its_error_pin(owner: User, run: Run, host: NodeHost) -> None:
    assert outputs(run(alone(owner, fail="no luck"))) == {"out": [1], "wrong": ["RuntimeError: no luck"]}


def test_a_person_may_change_what_an_isolated_block_gets(owner: User, engine: Engine, host: NodeHost) -> None:
    graph = draw(owner, {"print": ("PrintToConsole", {"text": "a"}), "out": output()}, ["print.output -> out.value"])
    Node.objects.filter(pk=graph.nodes["print"]).update(metadata={"isolated": True})
    Graph.objects.filter(pk=graph.id).update(sensitive_action_safe_mode=True)
    run = start(graph, owner)
    review: Review = eventually(lambda: Review.objects.filter(run=run.pk).first())
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="REVIEW").exists())
    reviews.decide(owner.pk, [Verdict(review.node_execution_id, approved=True, data={"text": "b"})])
    assert outputs(ended(run.pk)) == {"out": ["b"]}
    assert len(NodeTask.objects.filter(run=run.pk)) == 1


def test_a_retried_run_runs_the_isolated_block_again_that_failed(
    owner: User, engine: Engine, run: Run, host: NodeHost, log: Path
) -> None:
    failed = run(alone(owner, fail="no luck", recovers=True, metadata={}, log=str(log)))
    assert outputs(failed) == {"out": [1], "wrong": ["RuntimeError: no luck"]}
    again = retry_run(failed.pk, ring=False)
    engine.ring([again.pk])
    assert outputs(ended(again.pk))["out"] == [1]
    assert NodeTask.objects.filter(run=again.pk).count() == 1
    assert len(keys(log)) == 2


def test_its_rows_go_once_they_are_not_needed_any_more(owner: User, run: Run, host: NodeHost) -> None:
    run(alone(owner))
    assert (NodeTask.objects.count(), NodeTaskPart.objects.count()) == (1, 1)
    node_tasks.forget()
    assert not NodeTask.objects.exists()
    assert not NodeTaskPart.objects.exists()


def test_rows_stay_as_long_as_somebody_may_need_them(owner: User, engine: Engine) -> None:
    graph = alone(owner)
    run = start(graph, owner)
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING").exists())
    node_tasks.forget()
    assert NodeTask.objects.count() == 1


# --- Whom they cannot hurt --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("exit", "The process that ran this block died (exit code 3)"),
        ("kill", "The process that ran this block died (signal 9, SIGKILL)"),
        ("memory", "It needs more memory than TASKLOOM_NODE_MEMORY_MB allows, 2048 MB"),
    ],
)
def test_a_block_that_ends_its_process_fails_its_node(
    owner: User, run: Run, host: NodeHost, ends: str, message: str
) -> None:
    done = run(alone(owner, ends=ends))
    assert (done.status, outputs(done)) == ("COMPLETED", {"out": [1], "wrong": [message]})
    assert outputs(run(alone(owner, value=2))) == {"out": [2]}


def test_a_block_that_never_ends_is_given_up_in_time(owner: User, run: Run, host: NodeHost, log: Path) -> None:
    done = run(alone(owner, metadata={"timeout_seconds": 0.5}, ends="loop", log=str(log)))
    assert outputs(done) == {"out": [1], "wrong": ["Not done within 0.5 s"]}
    eventually(lambda: not is_alive(log))


def test_a_run_that_is_stopped_ends_the_processes_of_its_blocks(
    owner: User, engine: Engine, host: NodeHost, log: Path
) -> None:
    run = start(alone(owner, ends="loop", log=str(log)), owner)
    engine.ring([run.pk])
    eventually(log.read_text)
    assert is_alive(log)
    services.stop_run(run.pk)
    eventually(lambda: not is_alive(log), 3)
    assert ended(run.pk).status == "TERMINATED"
    assert NodeTask.objects.get().ended_at is None
    eventually(lambda: NodeTask.objects.get().lease_until is None)
    node_tasks.forget()
    assert not NodeTask.objects.exists()


def test_a_run_whose_block_runs_apart_holds_no_worker(owner: User, engine: Engine, hold: Path, host: NodeHost) -> None:
    run = start(alone(owner, hold=str(hold)), owner)
    engine.ring([run.pk])
    eventually(lambda: NodeTask.objects.exclude(lease_until=None).exists())
    parked: GraphExecution = eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING").first())
    assert parked.lease_until is None
    hold.unlink()
    assert outputs(ended(run.pk)) == {"out": [1]}


# --- Who runs them ----------------------------------------------------------------------------------------------


def test_a_run_says_that_it_waits_for_somebody_who_runs_its_block(owner: User, engine: Engine) -> None:
    run = start(alone(owner), owner)
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING").exists())
    [sentence] = why(run.pk).sentences
    assert sentence.startswith("Node ProbeApart ")
    assert sentence.endswith("to be run in a process of its own; no worker of the queue isolated has taken it.")


def test_a_run_says_who_runs_its_block(owner: User, engine: Engine, host: NodeHost, hold: Path, log: Path) -> None:
    run = start(alone(owner, hold=str(hold), log=str(log)), owner)
    engine.ring([run.pk])
    eventually(log.read_text)
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING").exists())
    [sentence] = why(run.pk).sentences
    assert f"in a process of its own on worker {NodeTask.objects.get().lease_owner}" in sentence
    hold.unlink()
    ended(run.pk)


def lapse() -> None:
    """Make the leases of all tasks end now, as if their workers had been silent for long."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE executions_nodetask SET lease_until = now() - interval '1 second' WHERE claims > 0")


def claimed(run: GraphExecution, engine: Engine, probe: str) -> node_tasks.Job:
    """The run's task, taken by somebody who is never heard of again."""
    engine.ring([run.pk])
    job: node_tasks.Job = eventually(lambda: node_tasks.claim("lost", [block_id(probe)]))
    return job


def test_a_silent_worker_loses_its_task_and_what_it_still_answers(owner: User, engine: Engine, log: Path) -> None:
    run = start(alone(owner, log=str(log)), owner)
    lost = claimed(run, engine, "ProbeApart")
    assert node_tasks.claim("other", [block_id("ProbeApart")]) is None
    lapse()
    heir = node_tasks.claim("other", [block_id("ProbeApart")])
    assert heir is not None
    assert heir.claims == 2
    assert not node_tasks.keep(lost)
    assert not node_tasks.hand_on(lost, 0, Part(b'[["value", "stale"]]', 1))
    assert not node_tasks.finish(lost, 0, Part(b'[["value", "stale"]]', 1), Ending())
    assert not NodeTaskPart.objects.exists()
    assert node_tasks.keep(heir)
    assert node_tasks.finish(heir, 0, Part(b'[["value", "fresh"]]', 1), Ending())
    assert outputs(ended(run.pk)) == {"out": ["fresh"]}


def test_users_take_turns_for_hosts(owner: User, engine: Engine) -> None:
    first, second = (start(alone(owner), owner) for _ in range(2))
    engine.ring([first.pk, second.pk])
    eventually(lambda: NodeTask.objects.count() == 2)
    other = User.objects.create_user(email="other@example.com")
    last = start(alone(other), other)
    engine.ring([last.pk])
    eventually(lambda: NodeTask.objects.count() == 3)
    taken = [node_tasks.claim("host", [block_id("ProbeApart")]) for _ in range(3)]
    users = [GraphExecution.objects.get(pk=job.run_id).user_id for job in taken if job]
    assert users == [owner.pk, other.pk, owner.pk]


def test_a_task_that_loses_worker_after_worker_is_given_up(owner: User, engine: Engine) -> None:
    run = start(alone(owner), owner)
    claimed(run, engine, "ProbeApart")
    for _ in range(4):
        lapse()
        assert node_tasks.claim("lost", [block_id("ProbeApart")]) is not None
    lapse()
    host = NodeHost()
    host.start()
    assert outputs(ended(run.pk)) == {"wrong": ["Given up: 5 workers were lost while this ran"]}
    host.stop(grace=0)


def test_a_host_that_is_stopped_gives_its_task_back(owner: User, engine: Engine, hold: Path, log: Path) -> None:
    run = start(alone(owner, hold=str(hold), log=str(log)), owner)
    engine.ring([run.pk])
    first = NodeHost()
    first.start()
    eventually(log.read_text)
    first.stop(grace=0)
    task = NodeTask.objects.get()
    assert (task.claims, task.lease_until, task.ended_at) == (0, None, None)
    hold.unlink()
    second = NodeHost()
    second.start()
    assert outputs(ended(run.pk)) == {"out": [1]}
    second.stop(grace=0)
    assert len(keys(log)) == 2


def test_a_driver_that_is_lost_meanwhile_has_the_block_run_once(
    owner: User, engine: Engine, host: NodeHost, hold: Path, log: Path
) -> None:
    graph = draw(
        owner,
        {
            "apart": ("ProbeApart", {"hold": str(hold), "log": str(log), "value": 1, "times": 3}),
            "busy": ("ProbeRead", {"hold": str(hold), "value": 2}),
            "out": output(),
        },
        ["apart.value -> out.value", "busy.value -> out.value"],
    )
    run = start(graph, owner)
    engine.ring([run.pk])
    eventually(log.read_text)
    GraphExecution.objects.filter(pk=run.pk).update(lease_until="2000-01-01T00:00:00Z")
    heir = Engine()
    heir.start()
    eventually(lambda: GraphExecution.objects.get(pk=run.pk).fence > 1)
    hold.unlink()
    assert sorted(outputs(ended(run.pk))["out"]) == [1, 1, 1, 2]
    assert len(keys(log)) == 1
    heir.stop(grace=0)


# --- Real workers -----------------------------------------------------------------------------------------------


def kill_the_first(owner: User, folder: Path, graph: Drawn, hold: Path, log: Path) -> GraphExecution:
    """Run the graph; once its block is under way its worker is killed, and another takes over."""
    run = start(graph, owner)
    first, second = folder / "first.log", folder / "second.log"
    with worker(first) as victim:
        wait_until(log.read_text, 40)
        victim.kill()
        victim.wait(10)
    hold.unlink()
    with worker(second):
        return ended(run.pk, 40)


def test_a_keyed_block_whose_worker_is_killed_runs_again_with_the_same_key(
    owner: User, tmp_path: Path, hold: Path, log: Path
) -> None:
    done = kill_the_first(owner, tmp_path, alone(owner, hold=str(hold), log=str(log)), hold, log)
    assert outputs(done) == {"out": [1]}
    first, second = keys(log)
    assert first == second
    assert not is_alive(log)


def test_an_unsafe_block_whose_worker_is_killed_is_not_repeated(
    owner: User, tmp_path: Path, hold: Path, log: Path
) -> None:
    graph = alone(owner, "ProbeApartUnsafe", hold=str(hold), log=str(log))
    done = kill_the_first(owner, tmp_path, graph, hold, log)
    message = "The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"
    assert outputs(done) == {"wrong": [message]}
    assert len(keys(log)) == 1


def test_what_a_block_gave_waits_until_postgres_can_be_written(
    owner: User, engine: Engine, hold: Path, log: Path, host: NodeHost, caplog: pytest.LogCaptureFixture
) -> None:
    run = start(alone(owner, "ProbeApartUnsafe", hold=str(hold), log=str(log)), owner)
    engine.ring([run.pk])
    eventually(lambda: keys(log))
    with others_may_only_read():
        hold.unlink()
        eventually(lambda: "cannot be written: cannot execute" in caplog.text)
    assert outputs(ended(run.pk, timeout=20)) == {"out": [1]}
    assert len(keys(log)) == 1


def test_a_wide_fan_out_is_shared_by_two_workers(owner: User, tmp_path: Path) -> None:
    graph = draw(
        owner,
        {
            "step": ("StepThroughItems", {"items": list(range(20))}),
            "apart": ("ProbeApart", {"seconds": 0.3}),
            "out": output(),
        },
        ["step.item -> apart.value", "apart.value -> out.value"],
    )
    with ExitStack() as stack:
        logs = [tmp_path / "left.log", tmp_path / "right.log"]
        for log in logs:
            stack.enter_context(worker(log))
        wait_until(lambda: all(" ready." in log.read_text() for log in logs), 40)
        done = ended(start(graph, owner).pk, 30)
        owners = set(NodeTask.objects.values_list("lease_owner", flat=True))
    assert outputs(done) == {"out": list(range(20))}
    assert len(owners) == 2
