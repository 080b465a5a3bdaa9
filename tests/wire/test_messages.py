"""The keys of what is sent over the WebSocket and of errors: additions are fine when these lists are added to."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from rest_framework.test import APIClient

from accounts.models import User
from executions import services
from executions.api.serializers import GraphExecutionSerializer, NodeExecutionResultSerializer, StatsSerializer
from executions.engine.engine import Engine
from executions.kinds import EventKind
from executions.watching import pages, run_events
from tests import make
from tests.executions.conftest import ended, engine
from tests.executions.watching import Watcher, watching

__all__ = ["engine"]

RUN = {
    "id", "user_id", "graph_id", "graph_version", "inputs", "credential_inputs", "nodes_input_masks", "preset_id",
    "is_dry_run", "source_run_id", "source_node_id", "status", "started_at", "ended_at", "is_shared", "share_token",
    "stats",
    "outputs", "seq", "error", "error_code", "waiting", "truncated",
}  # fmt: skip
STATS = {
    "cost", "duration", "duration_cpu_only", "node_exec_time", "node_exec_time_cpu_only", "node_exec_count",
    "node_error_count", "error", "activity_status", "correctness_score",
}  # fmt: skip
NODE = {
    "user_id", "graph_id", "graph_version", "graph_exec_id", "node_exec_id", "node_id", "block_id", "status",
    "input_data", "output_data", "add_time", "queue_time", "start_time", "end_time",
    "output_count", "waiting", "truncated",
}  # fmt: skip
ERROR = {"code", "message", "detail", "hint"}


@pytest.fixture
async def watcher(owner: User) -> AsyncIterator[Watcher]:
    async with watching(owner) as watcher:
        yield watcher


async def test_events_have_exactly_these_keys(owner: User, watcher: Watcher, engine: Engine) -> None:
    graph = await sync_to_async(make.a_graph)(owner)
    run = await sync_to_async(services.start_run)(
        graph.graph_id, 1, user_id=owner.pk, inputs={"who": "World"}, ring=False
    )
    engine.ring([run.pk])
    await sync_to_async(ended)(run.pk)
    await watcher.send("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=0)
    reply = await watcher.next()
    assert set(reply) == {"method", "success", "channel"}
    for _ in range(6):
        message = await watcher.next()
        assert set(message) == {"method", "channel", "data"}
        data = message["data"]
        if message["method"] == "graph_execution_event":
            assert data["event_type"] == "graph_execution_update"
            assert set(data) == RUN | {"event_type", "at"}
            assert set(data["stats"]) == STATS
        else:
            assert message["method"] == "node_execution_event"
            assert data["event_type"] == "node_execution_update"
            assert set(data) == NODE | {"event_type", "seq", "at", "outputs_from"}
    await watcher.send("subscribe_graph_execution", graph_exec_id=str(run.pk))
    await watcher.next()
    assert set((await watcher.next())["data"]) == RUN | {"event_type", "at", "snapshot"}
    error = await watcher.ask("unsubscribe")
    assert set(error) == {"method", "success", "error", "data"}
    assert set(error["data"]) == {"method", "code"}


def test_the_schema_describes_what_is_sent() -> None:
    assert set(GraphExecutionSerializer().fields) == RUN
    assert set(StatsSerializer().fields) == STATS
    assert set(NodeExecutionResultSerializer().fields) == NODE


def test_every_kind_of_event_has_a_message() -> None:
    assert set(EventKind) == run_events.RUN_STATUS.keys() ^ pages.NODE_STATUS.keys()


def test_errors_have_exactly_these_keys(api: APIClient, anonymous: APIClient) -> None:
    absent = api.get(f"/api/graphs/{uuid4()}/executions/{uuid4()}")
    assert (absent.status_code, set(absent.json())) == (404, ERROR | {"run_id"})
    refused = anonymous.get("/api/executions")
    assert (refused.status_code, set(refused.json())) == (401, ERROR)
    malformed = api.get(f"/api/graphs/{uuid4()}/executions", {"page": "x"})
    assert (malformed.status_code, set(malformed.json())) == (422, ERROR)
    assert [set(problem) for problem in malformed.json()["detail"]] == [{"loc", "msg", "type"}]


def test_a_graph_that_cannot_run_is_answered_by_node_and_field(api: APIClient, user: User) -> None:
    graph = make.a_graph(user)
    answer = api.post(f"/api/graphs/{graph.graph_id}/execute/1", {}, format="json")
    assert answer.status_code == 400
    assert answer.json().keys() >= ERROR
    detail = answer.json()["detail"]
    assert set(detail) == {"type", "message", "node_errors"}
    assert detail["type"] == "validation_error"
    assert [set(fields) for fields in detail["node_errors"].values()] == [{"value"}]
