"""What the endpoints of runs read from a request."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from rest_framework.request import Request

from accounts.models import User
from executions.errors import NoSuchRun
from executions.models import GraphExecution
from executions.watching.shown_runs import whole_run


@dataclass(frozen=True, slots=True)
class Trigger:
    """What makes a repeated request the same: a run's `trigger_key` and `request_hash`."""

    key: str | None
    request_hash: str


def user_of(request: Request) -> User:
    """Who asks."""
    return cast(User, request.user)


def own_run(request: Request, run_id: UUID, graph_id: UUID | None = None) -> GraphExecution:
    """A run of whoever asks, of that graph if one is named; raises `NoSuchRun`."""
    run = whole_run(user_of(request).pk, run_id)
    if run is None or graph_id not in (None, run.graph_id):
        raise NoSuchRun(run_id=str(run_id))
    return run


def limits_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a `LimitsSerializer` read, by the names that services have for it."""
    return {
        "node_budget": asked["node_budget"],
        "output_budget": asked["output_budget"],
        "max_credits": asked["max_credits"],
        "timeout_seconds": asked["timeout_seconds"],
        "dry_run": asked["dry_run"],
    }


def trigger_of(key: str | None, *asked: object) -> Trigger:
    """The trigger of a request that asks for `asked` with this Idempotency-Key."""
    if key is None:
        return Trigger(None, "")
    text = json.dumps(asked, sort_keys=True, default=str)
    return Trigger(f"api:{key}", hashlib.sha256(text.encode()).hexdigest())
