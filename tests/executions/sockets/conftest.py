"""A socket, a graph, and runs of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from accounts.models import User
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution
from graphs.models import GraphVersion
from tests import make
from tests.drawing import Drawn
from tests.executions.conftest import ended
from tests.executions.watching import Watcher, watching

Start = Callable[..., Awaitable[GraphExecution]]

# Starts, waits and ends, so that a run has a moment in which it is under way.
PAUSE: dict[str, Any] = {"a": ("CountdownTimer", {"seconds": 0.3, "repeat": 1, "input_message": "on"})}


@pytest.fixture
async def watcher(owner: User) -> AsyncIterator[Watcher]:
    """A socket of the owner."""
    async with watching(owner) as watcher:
        yield watcher


@pytest.fixture
async def graph(owner: User) -> GraphVersion:
    """Three nodes that compute: its runs have six events."""
    return await sync_to_async(make.a_graph)(owner)


@pytest.fixture
def start(owner: User) -> Start:
    """Queue a run and leave it to the test to ring."""

    async def start_run(graph: GraphVersion | Drawn, **inputs: Any) -> GraphExecution:
        graph_id = graph.id if isinstance(graph, Drawn) else graph.graph_id
        return await sync_to_async(services.start_run)(graph_id, 1, user_id=owner.pk, inputs=inputs, ring=False)

    return start_run


async def finished(engine: Engine, run: GraphExecution) -> GraphExecution:
    """The run, driven to its end."""
    engine.ring([run.pk])
    return await sync_to_async(ended)(run.pk)
