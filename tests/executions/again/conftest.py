"""Running again, and what must stay as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from executions.again import replay_run, retry_run
from executions.engine.engine import Engine
from executions.models import GraphExecution
from tests.executions.conftest import ended
from tests.invariants import violations

Again = Callable[..., GraphExecution]


@pytest.fixture
def again(engine: Engine) -> Again:
    """Retry or replay a run, to the end of the new one."""

    def drive(run: GraphExecution, from_node: UUID | None = None, inputs: dict[str, Any] | None = None) -> Any:
        before = everything_of(run)
        fresh = (
            retry_run(run.pk, ring=False) if from_node is None else replay_run(run.pk, from_node, inputs, ring=False)
        )
        engine.ring([fresh.pk])
        done = ended(fresh.pk)
        assert everything_of(run) == before
        assert violations([run.pk, done.pk]) == []
        assert (done.source_run_id, done.source_node_id) == (run.pk, from_node)
        return done

    return drive


def everything_of(run: GraphExecution) -> list[Any]:
    """All rows of a run."""
    rows: list[Any] = [list(GraphExecution.objects.filter(pk=run.pk).values())]
    for table in (run.nodes, run.outputs, run.tokens, run.events):
        rows.append(list(table.order_by("pk").values()))
    return rows


def turns(log: Path) -> int:
    """How often a probe ran."""
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a probe that must not run again logs its turns."""
    return tmp_path / "log"
