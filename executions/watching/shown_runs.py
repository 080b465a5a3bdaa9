"""Runs read for events and requests, in statements that Postgres knows: Django writes, and has planned, each anew."""

from collections.abc import Sequence
from json import loads
from uuid import UUID

from django.db import connection
from django.db.models import JSONField

from core.sql import fetch_prepared
from executions.models import GraphExecution
from executions.reading import PREVIEWS

_NAMES = [field.attname for field in GraphExecution._meta.concrete_fields if not isinstance(field, JSONField)]
# As `visible_to` has it.
_VISIBLE = "FROM executions_graphexecution WHERE id = ANY(%(ids)s) AND user_id = %(user)s AND NOT is_deleted"

_SHOWN = f"SELECT {', '.join([*_NAMES, *PREVIEWS.values()])} {_VISIBLE} ORDER BY created_at, id"
_PLAIN = f"SELECT {', '.join(_NAMES)} {_VISIBLE} ORDER BY created_at, id"
_ALL = GraphExecution._meta.concrete_fields
_ALL_NAMES = [field.attname for field in _ALL]
_JSON = [place for place, field in enumerate(_ALL) if isinstance(field, JSONField)]
_WHOLE = f"SELECT {', '.join(_ALL_NAMES)} {_VISIBLE}"


def shown_runs(user_id: UUID, run_ids: Sequence[UUID]) -> list[GraphExecution]:
    """Those runs that the user may see, oldest first, without their long values: for `reading.listed_run`."""
    runs = []
    for row in fetch_prepared(_SHOWN, {"ids": list(run_ids), "user": user_id}):
        run = GraphExecution.from_db(None, _NAMES, row[: len(_NAMES)])
        vars(run).update(zip(PREVIEWS, row[len(_NAMES) :], strict=True))
        runs.append(run)
    return runs


def plain_run(user_id: UUID, run_id: UUID) -> GraphExecution | None:
    """The run, without its values, if the user may see it."""
    rows = fetch_prepared(_PLAIN, {"ids": [run_id], "user": user_id})
    return GraphExecution.from_db(None, _NAMES, rows[0]) if rows else None


def whole_run(user_id: UUID, run_id: UUID) -> GraphExecution | None:
    """The run, with its values, if the user may see it."""
    rows = fetch_prepared(_WHOLE, {"ids": [run_id], "user": user_id})
    if not rows:
        return None
    values = list(rows[0])
    for place in _JSON:
        values[place] = values[place] and loads(values[place])
    return GraphExecution.from_db(connection.alias, _ALL_NAMES, values)
