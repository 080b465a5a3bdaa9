"""What a start costs, and what it writes down."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from core.errors import Conflict
from executions import services
from executions.checks import Answer, RunChecks
from executions.errors import KeyReused, RefusedInBatch
from executions.models import Event, GraphExecution
from executions.new_runs import RunRequest
from graphs.blocks.registry import BLOCKS
from graphs.models import Node
from graphs.services import load_definition
from tests import make
from tests.drawing import Drawn, draw


def chain(owner: User, nodes: int) -> Drawn:
    """An input `who` without a value, and a chain of nodes behind it."""
    return draw(
        owner,
        {"in": ("AgentInput", {"name": "who"}), **{f"n{place}": ("StoreValue", {}) for place in range(nodes)}},
        ["in.result -> n0.input", *(f"n{place}.output -> n{place + 1}.input" for place in range(nodes - 1))],
    )


def checks_of(graph: Drawn) -> RunChecks:
    return RunChecks(load_definition(graph.id, graph.version), BLOCKS.get)


def calls_of(action: Callable[[], object]) -> int:
    """How many functions are called by `action`."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def test_the_cost_of_a_start_does_not_grow_with_the_graph(user: User) -> None:
    small, large = chain(user, 2), chain(user, 200)

    def start(graph: Drawn) -> GraphExecution:
        return services.start_run(graph.id, 1, user_id=user.pk, inputs={"who": "World"}, ring=False)

    for graph in (small, large, small, large):
        start(graph)
    # Now and then a driver looks after something of its own.
    assert abs(calls_of(lambda: start(large)) - calls_of(lambda: start(small))) < 20


def test_what_is_masked_is_looked_at_and_nothing_else(user: User) -> None:
    small, large = (checks_of(chain(user, nodes)) for nodes in (2, 200))

    def masked(checks: RunChecks) -> int:
        masks = {str(checks.definition.nodes[1].id): {"input": 1}}
        assert checks.answer({"who": 1}, masks) == Answer()
        return calls_of(lambda: checks.answer({"who": 1}, masks))

    assert masked(small) == masked(large)


@pytest.mark.parametrize(
    ("inputs", "mask", "wrong"),
    [
        ({}, {}, {"a", "b"}),
        ({"a": 1}, {}, {"b"}),
        ({"a": "x", "b": 2}, {}, {"a"}),
        ({"a": 1, "b": 2}, {"b": {"value": "y"}}, {"b"}),
        ({"a": 1}, {"b": {"value": 5}}, set()),
        ({"a": 1, "b": 2, "c": 3}, {}, set()),
        ({"a": 1, "b": 2}, {"unknown": {"value": "y"}}, set()),
    ],
)
def test_every_wrong_input_is_told_whatever_else_is_given(
    user: User, inputs: dict[str, Any], mask: dict[str, Any], wrong: set[str]
) -> None:
    graph = draw(user, {name: ("AgentNumberInput", {"name": name}) for name in "ab"})
    checks = checks_of(graph)
    masks = {str(graph.nodes.get(name, name)): pins for name, pins in mask.items()}
    names = {str(node_id): name for name, node_id in graph.nodes.items()}
    for _ in range(2):
        assert {names[node_id] for node_id in checks.answer(inputs, masks).errors} == wrong


def test_the_nodes_to_leave_out_are_those_without_their_optional_credentials(user: User) -> None:
    mail = ("ProbeMail", {"text": "hello"})
    graph = draw(user, {"one": mail, "two": mail, "free": ("StoreValue", {"input": 1})})
    optional = [str(graph.nodes["one"]), str(graph.nodes["two"])]
    Node.objects.filter(pk__in=optional).update(metadata={"credentials_optional": True})
    given = {"credentials": {"id": "c1", "provider": "post", "type": "api_key"}}
    for masked, left_out in (
        ([], optional),
        (optional[:1], optional[1:]),
        (optional[1:], optional[:1]),
        (optional, []),
        ([str(graph.nodes["free"])], optional),
    ):
        run = services.start_run(
            graph.id, 1, user_id=user.pk, inputs={}, nodes_input_masks=dict.fromkeys(masked, given), ring=False
        )
        assert run.nodes_to_skip == sorted(left_out)


def test_the_run_of_a_run_is_as_dry_as_that(user: User) -> None:
    graph = chain(user, 1)
    for dry in (True, False):
        parent = services.start_run(graph.id, 1, user_id=user.pk, inputs={"who": 1}, dry_run=dry, ring=False)
        child = services.start_run(graph.id, 1, user_id=user.pk, inputs={"who": 1}, parent_id=parent.pk, ring=False)
        assert (parent.is_dry_run, child.is_dry_run, child.root_id, child.depth) == (dry, dry, parent.pk, 1)


def test_what_is_returned_is_what_is_stored(user: User) -> None:
    graph = chain(user, 1)
    inputs = {"who": [1, 2.5, None, {"a": "ä"}, 10**40], "other": (1, 2)}
    for run in (
        services.start_run(graph.id, 1, user_id=user.pk, inputs=inputs, trigger_key="k", timeout_seconds=5, ring=False),
        *services.start_runs(
            graph.id, 1, user_id=user.pk, runs=[RunRequest(inputs=inputs), RunRequest(inputs=inputs)], ring=False
        ),
    ):
        stored = GraphExecution.objects.get(pk=run.pk)
        names = [field.attname for field in GraphExecution._meta.concrete_fields]
        assert {name: getattr(run, name) for name in names} == {name: getattr(stored, name) for name in names}
        assert run.inputs == {"who": [1, 2.5, None, {"a": "ä"}, 10**40], "other": [1, 2]}


def test_a_batch_is_one_statement_however_large(user: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    graph = chain(user, 1)
    requests = [RunRequest(inputs={"who": number}) for number in range(1000)]
    services.start_runs(graph.id, 1, user_id=user.pk, runs=requests[:1], ring=False)
    # The statement, and a savepoint, which these tests need, and its end.
    with django_assert_num_queries(3):
        runs = services.start_runs(graph.id, 1, user_id=user.pk, runs=requests, ring=False)
    assert [run.inputs["who"] for run in runs] == list(range(1000))
    assert Event.objects.filter(run__in=[run.pk for run in runs], seq=1, kind="run.queued").count() == 1000


def test_no_runs_are_a_batch_too(user: User) -> None:
    assert services.start_runs(chain(user, 1).id, 1, user_id=user.pk, runs=[]) == []


def test_a_value_that_cannot_be_stored_names_its_run_and_nothing_is_started(user: User) -> None:
    graph = chain(user, 1)
    requests = [RunRequest(inputs={"who": 1}), RunRequest(inputs={"who": "a\0b"})]
    with pytest.raises(RefusedInBatch, match="Run 1: Text with a NUL character cannot be stored") as refusal:
        services.start_runs(graph.id, 1, user_id=user.pk, runs=requests)
    assert refusal.value.data == {"run_index": 1}
    assert not GraphExecution.objects.exists()


def test_a_key_without_a_hash_finds_the_run_whatever_it_was_given(user: User) -> None:
    graph = chain(user, 1)

    def start(who: int, request_hash: str = "") -> GraphExecution:
        return services.start_run(
            graph.id, 1, user_id=user.pk, inputs={"who": who}, trigger_key="k", request_hash=request_hash, ring=False
        )

    first = start(1, "one")
    assert start(2) == first
    assert start(1, "one") == first
    with pytest.raises(KeyReused) as reused:
        start(1, "two")
    assert reused.value.data == {"run_id": str(first.pk)}
    assert GraphExecution.objects.count() == 1


def test_a_run_that_is_over_starts_no_other(user: User) -> None:
    graph = chain(user, 1)
    over = make.a_run(user, graph.id, status="COMPLETED")
    with pytest.raises(Conflict, match="is over"):
        services.start_run(graph.id, 1, user_id=user.pk, inputs={"who": 1}, parent_id=over.pk)
    assert GraphExecution.objects.count() == 1
