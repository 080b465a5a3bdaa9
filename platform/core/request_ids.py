"""The name of a request: in its answer, in every line that is logged on its way, and in the tasks that it causes."""

import re
from contextvars import ContextVar
from uuid import uuid4

HEADER = "X-Request-Id"
# Where Celery's messages carry it.
TASK_HEADER = "http_request_id"

# What somebody else chose goes into logs: no spaces, quotes or line breaks.
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}", re.ASCII)

_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return _current.get()


def begin(offered: str = "") -> str:
    """Go on under the offered id if it is well-formed, else under a new one; returns it."""
    request_id = offered if _WELL_FORMED.fullmatch(offered) else uuid4().hex
    _current.set(request_id)
    return request_id


def task_headers() -> dict[str, str]:
    """What the messages of tasks carry along that the current request causes."""
    request_id = current()
    return {TASK_HEADER: request_id} if request_id else {}


def resume(request_id: str) -> None:
    """Go on with what a request began, in another process; with an empty id with nothing."""
    _current.set(request_id)
