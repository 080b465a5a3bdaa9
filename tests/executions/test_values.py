"""Large values: stored once, apart from the rows that name them, and whole wherever they are used."""

import json
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from rest_framework.test import APIClient

from accounts.models import User
from executions import services, tasks
from executions.again import replay_run, retry_run
from executions.blobs import forget_blobs, values_of
from executions.compare import diff_runs
from executions.engine import beside, driver, store
from executions.engine.engine import Engine
from executions.engine.values import INLINE_BYTES
from executions.models import Blob, BlobUse, GraphExecution, NodeExecution, NodeOutput
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Run, ended, eventually
from tests.executions.test_engine import output
from tests.executions.test_recovery import lapse
from tests.executions.watching import watching
from tests.invariants import violations

LARGE: dict[str, Any] = {"rows": [{"id": number, "name": "ü" * 10} for number in range(5000)], "nothing": None}


def relay(owner: User, value: Any, nodes: int = 3) -> Drawn:
    """A value handed through some nodes to an output."""
    names = [f"n{number}" for number in range(nodes)]
    links = [f"{one}.output -> {other}.input" for one, other in pairwise(names)]
    return draw(
        owner,
        {**{name: ("StoreValue", {"input": value} if name == "n0" else {}) for name in names}, "out": output()},
        [*links, f"{names[-1]}.output -> out.value"],
    )


def shown(api: APIClient, run: GraphExecution) -> dict[str, Any]:
    """The run as its owner reads it."""
    body: dict[str, Any] = api.get(f"/api/graphs/{run.graph_id}/executions/{run.pk}").json()
    return body


def length(value: Any) -> int:
    """How many characters its JSON has."""
    return len(json.dumps(value, ensure_ascii=False))


def age(seconds: int = 3600) -> None:
    """Let time pass for all that is stored."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE executions_blob SET touched_at = touched_at - make_interval(secs => %s)", [seconds])


@pytest.mark.parametrize(("size", "blobs"), [(INLINE_BYTES, 0), (INLINE_BYTES + 1, 1)])
def test_up_to_32_kb_a_value_stays_in_its_row(owner: User, run: Run, size: int, blobs: int) -> None:
    text = "x" * (size - 2)
    graph = relay(owner, text, nodes=1)
    done = run(graph)
    (given,) = NodeOutput.objects.filter(run=done.pk, node_execution__node_id=graph.nodes["n0"])
    assert Blob.objects.count() == blobs
    assert (given.blob is not None, given.value == text) == (bool(blobs), not blobs)


def test_a_large_value_that_passes_ten_nodes_is_stored_once(
    client_of: Callable[[User], APIClient], owner: User, run: Run
) -> None:
    done = run(relay(owner, LARGE, nodes=10))
    (blob,) = Blob.objects.all()
    assert json.loads(bytes(blob.encoded)) == LARGE
    assert blob.size == len(blob.encoded) > 100_000
    assert list(BlobUse.objects.values_list("run_id", "hash")) == [(done.pk, blob.hash)]
    nodes = NodeExecution.objects.filter(run=done.pk)
    assert [len(node.input_blobs or {}) for node in nodes] == [1] * 11
    assert all(length(node.input_data) < 9000 for node in nodes)
    body = shown(client_of(owner), done)
    assert (body["outputs"], body["truncated"]) == ({"out": [LARGE]}, False)
    assert all(node["output_data"]["output"] == [LARGE] for node in body["node_executions"])
    assert all(LARGE in node["input_data"].values() for node in body["node_executions"])
    assert not any(node["truncated"] for node in body["node_executions"])


def test_a_part_of_a_large_value_leaves_on_its_own_link(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"all": ("StoreValue", {"input": LARGE}), "name": output(), "rows": output()},
        ["all.output_#_rows_$_7_#_id -> name.value", "all.output_#_rows -> rows.value"],
    )
    done = run(graph)
    given = {node.node_id: node for node in NodeExecution.objects.filter(run=done.pk)}
    assert given[graph.nodes["name"]].input_data["value"] == 7
    rows = (given[graph.nodes["rows"]].input_blobs or {})["value"]
    assert values_of(owner.pk, [rows])[rows] == LARGE["rows"]


def test_large_values_that_wait_are_whole_after_the_worker_was_lost(
    client_of: Callable[[User], APIClient], owner: User, tmp_path: Path
) -> None:
    hold, log = tmp_path / "hold", tmp_path / "log"
    hold.touch()
    graph = draw(
        owner,
        {
            "large": ("StoreValue", {"input": LARGE}),
            "stuck": ("ProbeKeyed", {"hold": str(hold), "log": str(log)}),
            "pair": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "large.output -> stuck.value", "large.output => pair.values_#_static", "large.output -> pair.values_#_kept",
            "stuck.value -> pair.values_#_large", "pair.dictionary -> out.value",
        ],
    )  # fmt: skip
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    first, second = Engine(), Engine()
    first.start()
    first.ring([run.pk])
    eventually(log.exists)
    lapse(run)
    second.start()
    second.ring([run.pk])
    eventually(lambda: len(log.read_text().splitlines()) == 2)
    hold.unlink()
    done = ended(run.pk)
    first.stop(grace=0)
    second.stop(grace=0)
    body = shown(client_of(owner), done)
    assert body["outputs"] == {"out": [{"static": LARGE, "kept": LARGE, "large": LARGE}]}


def test_a_called_run_answers_with_large_values_and_its_caller_stores_none_again(
    client_of: Callable[[User], APIClient], owner: User, run: Run
) -> None:
    called = draw(
        owner,
        {"in": ("AgentInput", {"name": "x"}), "out": ("AgentOutput", {"name": "y"})},
        ["in.result -> out.value"],
    )
    graph = draw(
        owner,
        {
            "large": ("StoreValue", {"input": LARGE}),
            "call": make.an_agent(str(called.id), inputs=["x"], outputs=["y"]),
            "out": output(),
        },
        ["large.output -> call.x", "call.y -> out.value"],
    )
    done = run(graph)
    assert shown(client_of(owner), done)["outputs"] == {"out": [LARGE]}
    assert Blob.objects.count() == 1
    assert BlobUse.objects.count() == 2


def test_events_and_lists_carry_previews_and_say_so(
    client_of: Callable[[User], APIClient], owner: User, run: Run
) -> None:
    done = run(relay(owner, LARGE, nodes=2))

    async def follow() -> list[dict[str, Any]]:
        async with watching(owner) as socket:
            return await socket.follow(done.pk, after_seq=0)

    events = async_to_sync(follow)()
    nodes = [event for event in events if event["event_type"] == "node_execution_update"]
    ends = [event for event in nodes if event["end_time"]]
    assert len(ends) == 3
    assert all(event["truncated"] and length(event) < 20_000 for event in nodes)
    assert all(event["output_data"]["output"][0]["rows"][0] == LARGE["rows"][0] for event in ends)
    assert events[-1]["truncated"]
    assert length(events[-1]) < 20_000


def test_what_is_taken_over_from_another_run_refers_to_the_same_value(
    client_of: Callable[[User], APIClient], owner: User, run: Run, engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    graph = draw(
        owner,
        {
            "large": ("StoreValue", {"input": LARGE}),
            "flaky": ("ProbeKeyed", {"log": str(folder / "log")}),
            "id": ("StoreValue", {}),
            "out": output(),
        },
        ["large.output -> flaky.value", "flaky.value -> out.value", "large.output_#_rows_$_0 -> id.input"],
    )
    failed = run(graph)
    assert (failed.node_error_count, Blob.objects.count()) == (1, 1)
    folder.mkdir()
    retried = retry_run(failed.pk, ring=False)
    engine.ring([retried.pk])
    done = ended(retried.pk)
    replayed = replay_run(done.pk, graph.nodes["out"], ring=False)
    engine.ring([replayed.pk])
    last = ended(replayed.pk)
    assert Blob.objects.count() == 1
    assert BlobUse.objects.count() == 3
    GraphExecution.objects.filter(pk__in=[failed.pk, done.pk]).delete()
    age()
    assert forget_blobs() == (0, 0)
    assert shown(client_of(owner), last)["outputs"] == {"out": [LARGE]}
    assert violations([last.pk]) == []


def test_runs_are_compared_by_the_hashes_of_their_large_values(owner: User, run: Run) -> None:
    graph = draw(owner, {"in": ("AgentInput", {"name": "x"}), "out": output()}, ["in.result -> out.value"])
    same, again, other = run(graph, x=LARGE), run(graph, x=LARGE), run(graph, x={**LARGE, "nothing": 0})
    assert diff_runs(same.pk, again.pk) == {"equal": True, "inputs": None, "outputs": None}
    difference = diff_runs(same.pk, other.pk)
    assert difference["inputs"]["node_id"] == str(graph.nodes["in"])
    assert length(difference) < 40_000


def test_users_do_not_share_values(owner: User, run: Run, engine: Engine) -> None:
    run(relay(owner, LARGE))
    (blob,) = Blob.objects.all()
    somebody = make.a_user()
    assert values_of(somebody.pk, [blob.hash]) == {}
    theirs = services.start_run(relay(somebody, LARGE).id, 1, user_id=somebody.pk, inputs={}, ring=False)
    engine.ring([theirs.pk])
    ended(theirs.pk)
    assert set(Blob.objects.values_list("user_id", "hash")) == {(owner.pk, blob.hash), (somebody.pk, blob.hash)}


def test_what_no_run_needs_is_forgotten_and_nothing_else(owner: User, run: Run) -> None:
    kept, gone = run(relay(owner, LARGE)), run(relay(owner, [LARGE]))
    GraphExecution.objects.filter(pk=gone.pk).delete()
    assert forget_blobs() == (0, 0), "it was stored a moment ago"
    size = Blob.objects.exclude(hash__in=kept.blobs.values("hash")).get().size
    age()
    assert forget_blobs() == (1, size)
    assert Blob.objects.count() == 1
    assert violations([kept.pk]) == []
    assert forget_blobs() == (0, 0)


def test_a_value_that_is_stored_again_while_it_is_forgotten_stays(owner: User, run: Run) -> None:
    gone = run(relay(owner, LARGE))
    fresh = make.a_run(owner, gone.graph_id, status="RUNNING", fence=1)
    blob = Blob.objects.get()
    GraphExecution.objects.filter(pk=gone.pk).delete()
    age()
    arguments = {"run": fresh.pk, "fence": 1, "owner": "", "hashes": [blob.hash], "encoded": [bytes(blob.encoded)]}
    found: list[Any] = []
    with transaction.atomic():
        psycopg.Cursor(connection.connection).execute(store._STORE_BLOBS, arguments)

        def forget() -> None:
            try:
                found.append(forget_blobs())
            finally:
                connection.close()

        thread = threading.Thread(target=forget)
        thread.start()
        thread.join(10)
        assert found == [(0, 0)]
    age(30)
    assert forget_blobs() == (0, 0)
    assert list(BlobUse.objects.values_list("run_id", "hash")) == [(fresh.pk, blob.hash)]
    age()
    assert forget_blobs() == (0, 0)


def test_a_worker_deletes_what_no_run_has(owner: User, run: Run) -> None:
    gone = run(relay(owner, LARGE))
    GraphExecution.objects.filter(pk=gone.pk).delete()
    age()
    tasks.forget_blobs()
    assert not Blob.objects.exists()


def test_a_stream_of_growing_values_costs_bytes_in_proportion_to_their_number(owner: User, run: Run) -> None:
    def bytes_of(number: int) -> int:
        items = ["x" * 1000 * place for place in range(number)]
        nodes = {"items": ("StepThroughItems", {"items": items}), "keep": ("StoreValue", {})}
        graph = draw(owner, nodes, ["items.item -> keep.input"])
        done = run(graph)

        async def follow() -> int:
            async with watching(owner) as socket:
                await socket.send("subscribe_graph_execution", graph_exec_id=str(done.pk), after_seq=0)
                size = 0
                while True:
                    text = await socket.socket.receive_from(5)
                    size += len(text)
                    message = json.loads(text)
                    if message["method"] == "graph_execution_event" and message["data"]["ended_at"]:
                        return size

        return async_to_sync(follow)()

    few, many = bytes_of(60), bytes_of(240)
    assert few > 60 * 8_000
    # What is given grows by 16, what is sent by 4: each value is shown once by its source, and once by each end.
    assert many < 5 * few
    assert many < 240 * 45_000


def test_a_stream_of_large_values_is_held_back(
    owner: User, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "MAX_TASKS", 4)
    monkeypatch.setattr(driver, "MAX_BACKLOG", 16)
    hold, log = tmp_path / "hold", tmp_path / "log"
    hold.touch()
    graph = draw(
        owner,
        {
            "source": ("ProbeLarge", {"times": 100, "bytes": 1_100_000, "log": str(log)}),
            "sink": ("ProbeRead", {"hold": str(hold)}),
        },
        ["source.value -> sink.value"],
    )
    started = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([started.pk])

    def rests() -> bool:
        before = log.stat().st_size if log.exists() else 0
        time.sleep(0.5)
        return 0 < before == log.stat().st_size

    eventually(rests, 30)
    assert log.stat().st_size < 60
    hold.unlink()
    done = ended(started.pk, 60)
    assert log.stat().st_size == 100
    assert NodeExecution.objects.filter(run=done.pk, node_id=graph.nodes["sink"], status="COMPLETED").count() == 100
