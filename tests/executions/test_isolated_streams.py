"""Blocks in processes of their own that give one value after the other: each is handed on once, while they run."""

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from accounts.models import User
from executions import node_tasks, services
from executions.engine.engine import Engine
from executions.engine.node_host import NodeHost
from executions.engine.node_turn import MAX_AHEAD, PART_OUTPUTS
from executions.explain import why
from executions.models import Event, GraphExecution, NodeExecution, NodeTask, NodeTaskPart
from executions.node_tasks import Ending, Part
from graphs.models import Node
from tests.drawing import Drawn, block_id, draw
from tests.executions.conftest import Run, ended, eventually
from tests.executions.test_effects import Engines
from tests.executions.test_engine import output, outputs
from tests.executions.test_isolated import claimed, keys, lapse, probe_of, start

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where probes log their turns."""
    path = tmp_path / "log"
    path.touch()
    return path


def counting(owner: User, probe: str = "ProbeCountApart", **constants: Any) -> Drawn:
    """A block that counts, an output behind it, and one behind its errors."""
    return draw(
        owner,
        {"count": (probe, constants), "out": output(), "wrong": output("wrong")},
        ["count.value -> out.value", "count.error -> wrong.value"],
    )


def handed_on(run: GraphExecution) -> list[Any]:
    """What the output has got by now."""
    behind = NodeExecution.objects.filter(run=run.pk, block_id=block_id("AgentOutput"), status="COMPLETED")
    return [node.input_data["value"] for node in behind.order_by("ordinal")]


def test_values_are_handed_on_while_the_block_runs(
    owner: User, engine: Engine, host: NodeHost, hold: Path, log: Path
) -> None:
    run = start(counting(owner, times=5, pauses_after=3, hold=str(hold), log=str(log)), owner)
    engine.ring([run.pk])
    eventually(lambda: handed_on(run) == [1, 2, 3])
    assert NodeTask.objects.get().ended_at is None
    hold.unlink()
    done = ended(run.pk)
    assert outputs(done) == {"out": [1, 2, 3, 4, 5]}
    assert (probe_of(done).output_count, probe_of(done).attempt, len(keys(log))) == (5, 1, 1)


def test_a_run_holds_no_worker_while_its_block_gives_nothing(
    owner: User, engine: Engine, host: NodeHost, hold: Path, log: Path
) -> None:
    run = start(counting(owner, times=5, pauses_after=3, hold=str(hold), log=str(log)), owner)
    engine.ring([run.pk])
    eventually(lambda: handed_on(run) == [1, 2, 3])
    parked: GraphExecution = eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="WAITING").first())
    assert parked.lease_until is None
    [wait] = probe_of(run).waits
    assert (wait["outputs"], wait["taken_up"]) == (0, 3)
    [sentence] = why(run.pk).sentences
    assert sentence.endswith("; it has given 3 outputs so far.")
    hold.unlink()
    assert outputs(ended(run.pk)) == {"out": [1, 2, 3, 4, 5]}
    assert len(keys(log)) == 1


def test_whoever_watches_sees_what_was_given_so_far(owner: User, engine: Engine, host: NodeHost, hold: Path) -> None:
    run = start(counting(owner, times=5, pauses_after=3, hold=str(hold)), owner)
    engine.ring([run.pk])
    eventually(lambda: NodeExecution.objects.filter(run=run.pk).exists())
    told = Event.objects.filter(run=run.pk, node_execution_id=probe_of(run).pk)
    eventually(lambda: told.filter(kind="node.output", outputs=3).exists())
    hold.unlink()
    ended(run.pk)
    assert told.get(kind="node.completed").outputs == 5


def test_a_block_waits_until_its_run_takes_up_what_it_gave(
    owner: User, engine: Engine, host: NodeHost, hold: Path
) -> None:
    graph = draw(
        owner,
        {"count": ("ProbeCountApart", {"times": 10**6}), "slow": ("ProbeRead", {"hold": str(hold)})},
        ["count.value -> slow.value"],
    )
    run = start(graph, owner)
    engine.ring([run.pk])

    def ahead() -> tuple[int, int]:
        node = NodeExecution.objects.filter(run=run.pk, node_id=graph.nodes["count"]).first()
        task = NodeTask.objects.first()
        return (task.output_count, task.output_count - node.output_count) if task and node else (0, 0)

    def has_stopped() -> bool:
        seen = ahead()
        return seen[0] > 0 and not eventually_differs(seen)

    def eventually_differs(seen: tuple[int, int]) -> bool:
        try:
            eventually(lambda: ahead() != seen, 1)
        except AssertionError:
            return False
        return True

    eventually(has_stopped, 20)
    given, waiting = ahead()
    assert 0 < waiting <= (MAX_AHEAD + 1) * PART_OUTPUTS
    assert given < 10**5
    assert NodeTask.objects.get().lease_until is not None
    services.stop_run(run.pk)
    hold.unlink()
    assert ended(run.pk).status == "TERMINATED"


def test_another_host_goes_on_where_a_lost_one_came_to(owner: User, engine: Engine, log: Path) -> None:
    run = start(counting(owner, times=5, log=str(log)), owner)
    lost = claimed(run, engine, "ProbeCountApart")
    assert node_tasks.hand_on(lost, 0, Part(b'[["value",1],["value",2]]', 2))
    eventually(lambda: handed_on(run) == [1, 2])
    lapse()
    heir = NodeHost()
    heir.start()
    done = ended(run.pk)
    heir.stop(grace=0)
    assert outputs(done) == {"out": [1, 2, 3, 4, 5]}
    assert not node_tasks.hand_on(lost, 2, Part(b'[["value",9]]', 1))
    assert NodeTaskPart.objects.values_list("first", "count").order_by("first")[0] == (0, 2)


def test_a_stream_may_be_long(owner: User, engine: Engine) -> None:
    run = start(draw(owner, {"count": ("ProbeCountApart", {})}), owner)
    job = claimed(run, engine, "ProbeCountApart")
    many = 2**15
    assert node_tasks.hand_on(job, 0, Part(b"[" + b",".join([b'["value",1]'] * many) + b"]", many))
    assert node_tasks.finish(job, many, Part(b'[["value",2]]', 1), Ending())
    assert probe_of(ended(run.pk, 30)).output_count == many + 1


def test_a_driver_that_is_lost_amid_a_stream_takes_nothing_with_it(
    owner: User, another_engine: Engines, host: NodeHost, hold: Path, log: Path
) -> None:
    run = start(counting(owner, times=60, seconds=0.05, pauses_after=40, hold=str(hold), log=str(log)), owner)
    another_engine().ring([run.pk])
    eventually(lambda: len(handed_on(run)) > 5)
    heir = another_engine()

    def is_taken_over() -> bool:
        GraphExecution.objects.filter(pk=run.pk, fence=1).update(lease_until="2000-01-01T00:00:00Z")
        heir.ring([run.pk])
        return GraphExecution.objects.get(pk=run.pk).fence > 1

    eventually(is_taken_over)
    hold.unlink()
    assert outputs(ended(run.pk, 20)) == {"out": list(range(1, 61))}
    assert len(keys(log)) == 1
    assert NodeTask.objects.count() == 1


def test_an_attempt_that_follows_does_not_give_again_what_was_handed_on(
    owner: User, run: Run, host: NodeHost, log: Path
) -> None:
    graph = counting(owner, times=4, seconds=0.15, fail="not yet", recovers=True, log=str(log))
    Node.objects.filter(pk=graph.nodes["count"]).update(metadata={"retry": {"attempts": 2, "seconds": 0}})
    done = run(graph)
    assert outputs(done) == {"out": [1, 2, 3, 4]}
    assert (probe_of(done).attempt, len(keys(log))) == (2, 2)


def test_an_attempt_waits_as_long_as_the_block_asks(owner: User, run: Run, host: NodeHost) -> None:
    graph = counting(owner, times=1, fail="busy", later=0.7, recovers=True)
    Node.objects.filter(pk=graph.nodes["count"]).update(metadata={"retry": {"attempts": 2, "seconds": 0}})
    done = run(graph)
    node = probe_of(done)
    task, retry, _ = node.waits
    assert (outputs(done), retry["retry"], "task" in task) == ({"out": [1]}, "busy", True)
    assert datetime.fromisoformat(retry["until"]) >= node.started_at + timedelta(seconds=0.7)


def test_a_host_that_cannot_keep_its_lease_leaves_a_block_that_had_begun(
    owner: User,
    engine: Engine,
    host: NodeHost,
    hold: Path,
    log: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.LEASE_SECONDS = 1
    run = start(counting(owner, "ProbeCountApartUnsafe", times=1, pauses_after=1, hold=str(hold), log=str(log)), owner)
    engine.ring([run.pk])
    eventually(log.read_text)

    def away(job: node_tasks.Job) -> bool:
        raise OperationalError("gone")

    monkeypatch.setattr(node_tasks, "keep", away)
    message = "The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"
    assert outputs(ended(run.pk, 20))["wrong"] == [message]
    assert len(keys(log)) == 1


def kill_the_process(run: GraphExecution, log: Path) -> None:
    """End the block's process once what it gave first was handed on."""
    eventually(lambda: handed_on(run) == [1, 2])
    os.kill(int(log.read_text().split()[2]), signal.SIGKILL)


def test_what_an_unsafe_block_gave_before_it_was_lost_stays_given(
    owner: User, engine: Engine, host: NodeHost, hold: Path, log: Path
) -> None:
    graph = counting(owner, "ProbeCountApartUnsafe", times=4, pauses_after=2, hold=str(hold), log=str(log))
    run = start(graph, owner)
    engine.ring([run.pk])
    kill_the_process(run, log)
    message = (
        "The process that ran this block died (signal 9, SIGKILL): whether it took effect is unknown, so it was not "
        "repeated"
    )
    assert outputs(ended(run.pk)) == {"out": [1, 2], "wrong": [message]}
    assert len(keys(log)) == 1


def test_a_verifiable_block_that_was_lost_gives_the_rest_of_what_it_did(
    owner: User, engine: Engine, host: NodeHost, hold: Path, log: Path
) -> None:
    graph = counting(owner, "ProbeCountApartVerifiable", times=4, pauses_after=2, hold=str(hold), log=str(log))
    run = start(graph, owner)
    engine.ring([run.pk])
    kill_the_process(run, log)
    assert outputs(ended(run.pk)) == {"out": [1, 2, 3, 4]}
    assert len(keys(log)) == 1


def test_large_values_go_in_parts_of_their_own(owner: User, run: Run, host: NodeHost) -> None:
    done = run(draw(owner, {"apart": ("ProbeApart", {"value": "x" * 300_000, "times": 20})}))
    assert (done.status, probe_of(done).output_count) == ("COMPLETED", 20)
    assert set(NodeTaskPart.objects.values_list("count", flat=True)) == {1}
