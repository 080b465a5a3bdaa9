"""Values and blocks that may hurt a worker: each is stored or refused by name, and the worker goes on."""

import gc
import json
import re
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from core.errors import DomainError
from executions import blobs, services
from executions.again import replay_run
from executions.engine.engine import Engine
from executions.kinds import FINAL, NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, NodeOutput
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Run, ended, eventually
from tests.executions.test_engine import calling, output, outputs
from tests.executions.test_limits import with_policy
from tests.packages.taskloom_probe.hostile import BEHAVIOUR, REFUSED, STORABLE, nested

pytestmark = pytest.mark.timeout(180)
# Runs at once: their values are large.
TOGETHER = 16
LARGE = {"text that grows when it is escaped", "a million numbers", "a million nulls", "many keys"}
FLAVOURS = ["HostilePure", "HostileThread", "HostileTask"]


class Verdict:
    """What went wrong, over many cases."""

    def __init__(self) -> None:
        self.cases = 0
        self.wrong: list[str] = []

    def expect(self, name: str, holds: object, found: object) -> None:
        """One more case; `found` is told when it does not hold."""
        self.cases += 1
        if not holds:
            self.wrong.append(f"{name}: {str(found)[:300]}")

    def __str__(self) -> str:
        return f"{len(self.wrong)} of {self.cases} cases went wrong: {self.wrong}"


def drive(engine: Engine, runs: Iterable[GraphExecution], timeout: float = 120) -> None:
    """Drive runs to their ends, which must keep every promise."""
    ids = [run.pk for run in runs]
    for place in range(0, len(ids), TOGETHER):
        engine.ring(ids[place : place + TOGETHER])
        for run_id in ids[place : place + TOGETHER]:
            ended(run_id, timeout)


def a_quick_run(owner: User, engine: Engine) -> float:
    """How many seconds an ordinary run takes by now."""
    graph = draw(owner, {"one": ("StoreValue", {"input": 1}), "out": output()}, ["one.output -> out.value"])
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    started = time.monotonic()
    engine.ring([run.pk])
    assert ended(run.pk).status == Status.COMPLETED
    return time.monotonic() - started


def small() -> list[tuple[str, Callable[[], Any]]]:
    """All values but some that only take time."""
    every = [*STORABLE.items(), *REFUSED.items()]
    return [(name, make_value) for name, (make_value, _) in every if name not in LARGE]


def start(owner: User, graph: Drawn, **inputs: Any) -> GraphExecution:
    """A run that nobody is told about."""
    return services.start_run(graph.id, graph.version, user_id=owner.pk, inputs=inputs, ring=False)


def given(run: GraphExecution, node: UUID, pin: str = "value") -> list[Any]:
    """What a node gave on a pin, large values whole."""
    rows = list(NodeOutput.objects.filter(run=run.pk, node_execution__node_id=node, pin=pin).order_by("ordinal"))
    large = blobs.values_of(run.user_id, (row.blob for row in rows))
    return [large[row.blob] if row.blob else row.value for row in rows]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_block_gives_is_stored_or_refused(owner: User, engine: Engine, flavour: str) -> None:
    verdict = Verdict()
    names = [name for name in [*STORABLE, *REFUSED] if flavour == "HostilePure" or name not in LARGE]
    graphs = [draw(owner, {"bad": (flavour, {"case": f"gives {name}"})}) for name in names]
    runs = [start(owner, graph) for graph in graphs]
    drive(engine, runs)
    for name, graph, run in zip(names, graphs, runs, strict=True):
        values, errors = given(run, graph.nodes["bad"]), given(run, graph.nodes["bad"], "error")
        if name in STORABLE:
            # Not shown when it is wrong: it may be large.
            verdict.expect(name, values == [STORABLE[name][1]()] and not errors, errors or "another value")
        else:
            verdict.expect(name, not values and len(errors) == 1 and re.search(REFUSED[name][1], errors[0]), errors)
    assert not verdict.wrong, str(verdict)
    assert a_quick_run(owner, engine) < 2


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_whatever_a_block_does_only_its_node_fails(owner: User, engine: Engine, flavour: str) -> None:
    verdict = Verdict()
    graphs = [draw(owner, {"bad": (flavour, {"case": name})}) for name in BEHAVIOUR]
    runs = [start(owner, graph) for graph in graphs]
    drive(engine, runs)
    for (name, (_, message)), graph, run in zip(BEHAVIOUR.items(), graphs, runs, strict=True):
        node = NodeExecution.objects.get(run=run.pk)
        status = GraphExecution.objects.get(pk=run.pk).status
        told = (status, node.status, node.error[:200])
        verdict.expect(name, told[:2] == ("COMPLETED", "FAILED") and re.search(message, node.error, re.S), told)
        verdict.expect(name, given(run, graph.nodes["bad"], "error") == [node.error], told)
    assert not verdict.wrong, str(verdict)
    assert a_quick_run(owner, engine) < 2
    # A generator that was not told to end, and says so when it is, says it here and not in a later test.
    gc.collect()


def test_a_block_that_would_not_end_is_left_to_itself_when_its_time_is_up_or_its_run_is_stopped(
    owner: User, engine: Engine
) -> None:
    deaf = ("HostileTask", {"case": "would not end"})
    slow, endless = (
        draw(owner, {"slow": deaf, "out": output()}, ["slow.error -> out.value"]),
        draw(owner, {"one": deaf}),
    )
    timed, stopped = start(owner, with_policy(slow, "slow", timeout_seconds=0.1)), start(owner, endless)
    engine.ring([timed.pk, stopped.pk])
    eventually(lambda: NodeExecution.objects.filter(run=stopped.pk, status=NodeStatus.RUNNING).exists())
    services.stop_run(stopped.pk)
    assert ended(stopped.pk, timeout=5).status == Status.TERMINATED
    assert outputs(ended(timed.pk, timeout=5)) == {"out": ["Not done within 0.1 s"]}


def test_the_name_of_an_output_is_a_text_that_can_be_stored(owner: User, engine: Engine) -> None:
    verdict = Verdict()
    names = [name for name, _ in small()]
    runs = [start(owner, draw(owner, {"bad": ("HostileNames", {"case": name})})) for name in names]
    drive(engine, runs)
    for name, run in zip(names, runs, strict=True):
        (row,) = NodeOutput.objects.filter(run=run.pk)
        made = STORABLE[name][0]() if name in STORABLE else None
        if isinstance(made, str) and len(made) <= 1000:
            verdict.expect(name, (row.pin, row.value) == (STORABLE[name][1](), 1), (row.pin, row.value))
        else:
            message = r"characters|pairs|NUL|surrogate|cannot be used"
            verdict.expect(name, row.pin == "error" and re.search(message, row.value), (row.pin, row.value))
    assert not verdict.wrong, str(verdict)


@pytest.mark.parametrize("place", ["input", "mask"])
def test_what_a_run_is_given_is_stored_or_refused(owner: User, engine: Engine, place: str) -> None:
    verdict = Verdict()
    graph = draw(owner, {"in": ("AgentInput", {"name": "x", "value": 0}), "out": output()}, ["in.result -> out.value"])
    started: dict[str, GraphExecution] = {}
    for name, make_value in small():
        given_value = make_value()
        mask = {str(graph.nodes["in"]): {"value": given_value}} if place == "mask" else {}
        inputs = {"x": given_value} if place == "input" else {}
        count = GraphExecution.objects.count()
        try:
            started[name] = services.start_run(
                graph.id, 1, user_id=owner.pk, inputs=inputs, nodes_input_masks=mask, ring=False
            )
        except DomainError as error:
            refused = REFUSED.get(name, ("", "^$"))[1]
            verdict.expect(name, re.search(refused, error.message), error.message)
            verdict.expect(name, GraphExecution.objects.count() == count, "a run was left behind")
        else:
            verdict.expect(name, name in STORABLE, "it was accepted")
    drive(engine, started.values())
    for name, run in started.items():
        values, errors = given(run, graph.nodes["in"], "result"), given(run, graph.nodes["in"], "error")
        verdict.expect(name, values == [STORABLE[name][1]()], errors or "another value")
    assert not verdict.wrong, str(verdict)
    assert a_quick_run(owner, engine) < 2


def test_what_a_replay_is_given_is_stored_or_refused(owner: User, run: Run, engine: Engine) -> None:
    verdict = Verdict()
    graph = draw(
        owner, {"first": ("StoreValue", {"input": 1}), "next": ("StoreValue", {})}, ["first.output -> next.input"]
    )
    source = run(graph)
    started = {}
    for name, make_value in small():
        try:
            started[name] = replay_run(source.pk, graph.nodes["next"], {"input": make_value()}, ring=False)
        except DomainError as error:
            verdict.expect(name, re.search(REFUSED.get(name, ("", "^$"))[1], error.message), error.message)
        else:
            verdict.expect(name, name in STORABLE, "it was accepted")
    drive(engine, started.values())
    for name, again in started.items():
        values, errors = given(again, graph.nodes["next"], "output"), given(again, graph.nodes["next"], "error")
        verdict.expect(name, values == [STORABLE[name][1]()], errors or "another value")
    assert not verdict.wrong, str(verdict)


def test_what_a_called_run_gives_is_stored_or_refused(owner: User, engine: Engine) -> None:
    verdict = Verdict()
    names = [name for name, _ in small()]
    runs, callers = [], []
    for name in names:
        inner = draw(
            owner,
            {"bad": ("HostilePure", {"case": f"gives {name}"}), "value": output("more"), "error": output("error")},
            ["bad.value -> value.value", "bad.error -> error.value"],
        )
        graph = draw(owner, {"call": calling(inner)})
        callers.append(graph.nodes["call"])
        runs.append(start(owner, graph))
    drive(engine, runs)
    for name, node, run in zip(names, callers, runs, strict=True):
        values, errors = given(run, node, "more"), given(run, node, "error")
        if name in STORABLE:
            verdict.expect(name, values == [STORABLE[name][1]()], errors or "another value")
        else:
            verdict.expect(name, re.search(REFUSED[name][1], str(errors)), errors)
    assert not verdict.wrong, str(verdict)


def hostile_texts() -> dict[str, bytes]:
    """JSON that says what JSON cannot, or too much of it."""
    return {
        "a NUL character": b'"a\\u0000b"',
        "a NUL character as it is": b'"a\0b"',
        "a lone surrogate": b'"\\ud800"',
        "bytes that are no text": b'"\xff\xfe"',
        "NaN": b"NaN",
        "infinity": b"[-Infinity]",
        "too large a number": b"1e999",
        "10,000 digits": b"1" * 10_000,
        "depth 100": json.dumps(nested(100)).encode(),
        "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
        "half a document": b'{"a": [1, 2',
    }


@pytest.mark.parametrize("place", ["constant", "input", "mask"])
def test_what_comes_over_http_is_refused_before_anything_is_written(
    client_of: Callable[[User], APIClient], owner: User, place: str
) -> None:
    verdict = Verdict()
    graph = draw(owner, {"in": ("AgentInput", {"name": "x", "value": 0})})
    client = client_of(owner)
    for name, text in hostile_texts().items():
        if place == "constant":
            drawing = json.dumps(make.a_drawing()).encode()
            body = (
                b'{"graph": '
                + drawing.replace(b'"input_default": {', b'"input_default": {"odd": %s, ' % text, 1)
                + b"}"
            )
            answer = client.post("/api/graphs", body, content_type="application/json")
        else:
            key, inside = ("inputs", b'{"x": %s}') if place == "input" else ("nodes_input_masks", b'{"n": {"x": %s}}')
            body = b'{"%s": ' % key.encode() + inside % text + b"}"
            answer = client.post(f"/api/graphs/{graph.id}/execute/1", body, content_type="application/json")
        told = (answer.status_code, answer.content[:200])
        verdict.expect(name, answer.status_code in (400, 413, 422) and answer.json()["message"], told)
        verdict.expect(name, not GraphExecution.objects.exists(), "a run was left behind")
    assert not verdict.wrong, str(verdict)


def test_a_long_stream_into_a_slow_node_that_gives_something_ends(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {"source": ("ProbeThread", {"times": 1500}), "slow": ("ProbeRead", {"seconds": 0.1, "value": 1})},
        ["source.value -> slow.value"],
    )
    done = run(graph, timeout=60)
    assert (done.status, done.node_count, done.node_error_count) == (Status.COMPLETED, 1501, 0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hundred_thousand_outputs_take_little_memory(owner: User, engine: Engine, flavour: str) -> None:
    graph = draw(owner, {"source": (flavour, {"case": "gives many"})})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = start(owner, graph)
    engine.ring([started.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=started.pk, status__in=FINAL).exists(), 120)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
    assert NodeOutput.objects.filter(run=started.pk).count() == 100_000
