"""Runs in the admin site."""

import base64
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import JSONField, Value
from django.test import Client

from accounts.models import Role
from core import paging
from executions.kinds import Status
from executions.models import Event, GraphExecution, NodeExecution
from tests import make

RUNS = "/admin/executions/graphexecution/"
ACTIVATIONS = "/admin/executions/nodeexecution/"


@pytest.fixture
def operator(db: None) -> Client:
    """Somebody who may see the admin site."""
    client = Client()
    client.force_login(make.a_user(role=Role.ADMIN))
    return client


@pytest.fixture
def run(db: None) -> GraphExecution:
    """A run with an activation whose values try to be HTML."""
    owner = make.a_user("ada@example.com")
    graph = make.a_graph(owner)
    run = make.a_run(owner, graph.graph_id, inputs={"who": "<script>alert(1)</script>"}, head_seq=2)
    node = next(node for node in graph.nodes.all() if node.input_default.get("name") == "who")
    made = make.an_activation(
        run, node.pk, "AgentInput", [("result", "<b>bold</b>")], input_data={"value": "<i>"}, error="<u>"
    )
    Event.objects.create(run=run, seq=1, kind="run.queued")
    Event.objects.create(run=run, seq=2, kind="node.completed", node_execution_id=made.pk, outputs=1)
    return run


def test_runs_are_listed_with_few_queries(
    operator: Client, run: GraphExecution, django_assert_max_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    for _ in range(5):
        make.a_run(run.user, run.graph_id)
    with django_assert_max_num_queries(6):
        page = operator.get(RUNS).content.decode()
    assert page.count("ada@example.com") == 6
    assert page.count("drawn v1") == 6


def test_the_list_of_runs_tells_how_far_each_is(operator: Client, run: GraphExecution) -> None:
    start = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    times = {"started_at": start, "ended_at": start + timedelta(seconds=75)}
    GraphExecution.objects.update(status=Status.COMPLETED, node_count=7, node_error_count=2, **times)
    page = operator.get(RUNS).content.decode()
    cells = re.findall(r'<t[dh] class="field-(\w+)[^>]*>(?:<a[^>]*>)?([^<]*)', page)
    assert cells == [
        ("short_id", f"…{str(run.pk)[-8:]}"),
        ("graph_name", "drawn v1"),
        ("user", "ada@example.com"),
        ("status", "COMPLETED"),
        ("nodes", "7, 2 failed"),
        ("started_at", "2026-05-04 03:02:01"),
        ("took", "1 min 15 s"),
    ]


def test_the_count_of_runs_has_a_limit(operator: Client, run: GraphExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 2)
    for _ in range(5):
        make.a_run(run.user, run.graph_id)
    assert operator.get(RUNS).context["cl"].result_count == 2


@pytest.mark.parametrize("term", ["{run.pk}", "{run.graph_id}", "ada@"])
def test_runs_are_found_by_id_graph_and_email(operator: Client, run: GraphExecution, term: str) -> None:
    other = make.a_user()
    make.a_run(other, make.a_graph(other).graph_id)
    results = operator.get(RUNS, {"q": term.format(run=run)}).context["cl"].result_list
    assert [found.pk for found in results] == [run.pk]
    assert not operator.get(RUNS, {"q": "nothing like it"}).context["cl"].result_list


def test_runs_are_filtered_by_status(operator: Client, run: GraphExecution) -> None:
    done = make.a_run(run.user, run.graph_id, status=Status.COMPLETED)
    results = operator.get(RUNS, {"status__exact": "COMPLETED"}).context["cl"].result_list
    assert [found.pk for found in results] == [done.pk]


def test_a_run_is_shown_with_its_picture_activations_and_events(operator: Client, run: GraphExecution) -> None:
    page = operator.get(f"{RUNS}{run.pk}/change/").content.decode()
    (encoded,) = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert base64.b64decode(encoded).decode().startswith("<svg ")
    assert "run.queued" in page
    assert "node.completed" in page
    node = NodeExecution.objects.get()
    (activation, event) = re.findall(rf'<a href="{ACTIVATIONS}{node.pk}/change/"[^>]*>(\w+)</a>', page)
    assert (activation, event) == ("who", "who")
    assert '<div class="values">result: &lt;b&gt;bold&lt;/b&gt;</div>' in page
    for tag in ("<script>alert", "<u>", "<i>"):
        assert tag not in page
    assert "&lt;script&gt;alert(1)" in page


def test_of_an_activation_with_many_long_outputs_the_beginning_is_shown(operator: Client, run: GraphExecution) -> None:
    graph_node = NodeExecution.objects.get().node_id
    values: list[Any] = ["x" * 1_000, {"deep": [1]}, Value(None, JSONField()), 4, 5]
    make.an_activation(run, graph_node, "AgentInput", [("result", value) for value in values], ordinal=1)
    page = operator.get(f"{RUNS}{run.pk}/change/").content.decode()
    shown = re.findall(r'<div class="values">([^<]*)</div>', page)
    assert shown == [
        f"result: {'x' * 100}…",
        "result: {&quot;deep&quot;: [1]}",
        "result: null",
        "and 2 more",
        "result: &lt;b&gt;bold&lt;/b&gt;",
    ]


def test_an_activation_is_shown_with_what_it_was_given_and_gave(operator: Client, run: GraphExecution) -> None:
    node = NodeExecution.objects.get()
    assert [row.pk for row in operator.get(ACTIVATIONS, {"q": str(run.pk)}).context["cl"].result_list] == [node.pk]
    assert not operator.get(ACTIVATIONS, {"q": "no id"}).context["cl"].result_list
    page = operator.get(f"{ACTIVATIONS}{node.pk}/change/").content.decode()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "&lt;i&gt;" in page
    assert f"{RUNS}{run.pk}/change/" in page


def test_runs_can_be_stopped(operator: Client, run: GraphExecution) -> None:
    answer = operator.post(RUNS, {"action": "stop", "_selected_action": [str(run.pk)]})
    assert answer.status_code == 302
    assert GraphExecution.objects.get().status == Status.TERMINATED


@pytest.mark.parametrize("page", ["add/", "{pk}/delete/"])
def test_runs_are_neither_added_nor_deleted(operator: Client, run: GraphExecution, page: str) -> None:
    assert operator.post(RUNS + page.format(pk=run.pk), {"post": "yes"}).status_code == 403
    assert GraphExecution.objects.count() == 1


def test_runs_are_not_changed(operator: Client, run: GraphExecution) -> None:
    assert operator.post(f"{RUNS}{run.pk}/change/", {"status": "COMPLETED"}).status_code == 403
    assert GraphExecution.objects.get().status == Status.QUEUED


def test_only_operators_get_in(run: GraphExecution) -> None:
    client = Client()
    client.force_login(make.a_user())
    assert client.get(RUNS).status_code == 302
    client.post(RUNS, {"action": "stop", "_selected_action": [str(run.pk)]})
    assert GraphExecution.objects.get().status == Status.QUEUED
