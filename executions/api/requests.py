"""What the endpoints of runs read from a request."""

from typing import cast
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from accounts.models import User
from core.api import Problem, RequestInvalid
from core.errors import Conflict
from executions.errors import NoSuchRun
from executions.models import GraphExecution

# With its prefix it must fit the column.
_LONGEST_KEY = 190

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key by the same user starts one run only; the answers are alike.",
)


class KeyReused(Conflict):
    """This Idempotency-Key has started another run."""

    hint = "Choose a new key for each run; repeat a key only to repeat the same request."


def user_of(request: Request) -> User:
    """Who asks."""
    return cast(User, request.user)


def own_run(request: Request, run_id: UUID, graph_id: UUID | None = None) -> GraphExecution:
    """A run of whoever asks, of that graph if one is named; raises `NoSuchRun`."""
    runs = GraphExecution.objects.visible_to(user_of(request)).filter(pk=run_id)
    run = (runs if graph_id is None else runs.filter(graph=graph_id)).first()
    if run is None:
        raise NoSuchRun(run_id=str(run_id))
    return run


def trigger_key_of(request: Request) -> str | None:
    """The request's Idempotency-Key as a run keeps it; raises `RequestInvalid` for one that cannot be kept."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        message = f"Input should be 1 to {_LONGEST_KEY} printable ASCII characters"
        raise RequestInvalid([Problem(loc=["header", "Idempotency-Key"], msg=message, type="idempotency_key")])
    return f"api:{key}"
