"""What the endpoints of runs read from a request."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from accounts.models import User
from core.api import Problem, RequestInvalid
from executions.errors import NoSuchRun
from executions.models import GraphExecution
from executions.shown_runs import whole_run

# With what is put before and behind it, it must fit the column.
LONGEST_KEY = 190
KEY = re.compile(rf"[ -~]{{1,{LONGEST_KEY}}}")
KEY_RULE = f"Input should be 1 to {LONGEST_KEY} printable ASCII characters"

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A request that is repeated with the same key starts nothing again and gets the same answer; another "
    "request with it is a 409.",
)


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


def trigger_of(key: str | None, *asked: object) -> Trigger:
    """The trigger of a request that asks for `asked` with this Idempotency-Key."""
    if key is None:
        return Trigger(None, "")
    text = json.dumps(asked, sort_keys=True, default=str)
    return Trigger(f"api:{key}", hashlib.sha256(text.encode()).hexdigest())


def idempotency_key_of(request: Request) -> str | None:
    """The header of the request; raises `RequestInvalid` for one that cannot be kept."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        raise RequestInvalid([Problem(loc=["header", "Idempotency-Key"], msg=KEY_RULE, type="idempotency_key")])
    return key
