"""New runs as rows: one statement inserts them, their first events, and what is set aside for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from json import loads
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import JSONField

from core import json
from core.after_commit import send
from core.ids import uuid7
from core.sql import fetch_prepared
from credits import holds
from credits.balances import balance_of
from credits.errors import InsufficientCredits
from credits.kinds import CREDIT
from executions import events, funding, queue
from executions.checks import RunChecks
from executions.encoding import encode
from executions.errors import KeyReused, NotRunnable
from executions.kinds import EventKind
from executions.models import GraphExecution
from executions.workspace import MARK, missing_files
from graphs.errors import GraphNotFound

NODE_BUDGET = 100_000
NO_CREDITS = "You have no credits to run graphs with"

_FIELDS = GraphExecution._meta.concrete_fields
_NAMES = [column.attname for column in _FIELDS]
_JSON = [place for place, column in enumerate(_FIELDS) if isinstance(column, JSONField)]

# What runs that start together may have each for itself.
_OWN = {
    "id": "uuid",
    "trigger_key": "text",
    "request_hash": "text",
    "inputs": "jsonb",
    "credential_inputs": "jsonb",
    "nodes_input_masks": "jsonb",
    "nodes_to_skip": "jsonb",
    "is_dry_run": "boolean",
    "preset_id": "uuid",
    "node_budget": "integer",
    "output_budget": "integer",
    "max_credits": "integer",
    "api_key_id": "uuid",
    "timeout_seconds": "float8",
}
_ONE = "SELECT " + ", ".join(f"%({name})s::{kind} AS {name}" for name, kind in _OWN.items())
_MANY = f"SELECT * FROM jsonb_to_recordset(%(runs)s) AS g({', '.join(map(' '.join, _OWN.items()))})"  # noqa: S608  ours
_INSERT = """
WITH given AS ({given}), run AS (
    INSERT INTO executions_graphexecution (
        user_id, graph_id, graph_version, parent_id, root_id, depth, id, trigger_key, request_hash, inputs,
        credential_inputs, nodes_input_masks, nodes_to_skip, is_dry_run, preset_id, node_budget, output_budget,
        max_credits, api_key_id, price_version, deadline_at, human_in_the_loop_safe_mode, sensitive_action_safe_mode,
        head_seq)
    SELECT %(user)s, %(graph)s, %(version)s, %(parent)s, %(root)s, %(depth)s, id, trigger_key, request_hash, inputs,
        credential_inputs, nodes_input_masks, nodes_to_skip, is_dry_run, preset_id, node_budget, output_budget,
        max_credits, api_key_id, CASE WHEN NOT is_dry_run THEN %(price_version)s::integer END,
        clock_timestamp() + make_interval(secs => timeout_seconds),
        COALESCE(%(asks)s::boolean, (SELECT human_in_the_loop_safe_mode FROM graphs_graph WHERE id = %(graph)s)),
        COALESCE(%(is_careful)s::boolean, (SELECT sensitive_action_safe_mode FROM graphs_graph WHERE id = %(graph)s)),
        1
    FROM given {gate}
    ON CONFLICT (user_id, trigger_key) WHERE trigger_key IS NOT NULL DO NOTHING
    RETURNING {columns}
), event AS (
    INSERT INTO executions_event (run_id, seq, kind) SELECT id, 1, %(queued)s FROM run
){placing}
SELECT * FROM run
"""
# Whoever has nothing left starts nothing.
_GATE = "WHERE COALESCE((SELECT balance FROM credits_account WHERE user_id = %(user)s), 0) > 0"
# What each is likely to use, within its budget.
_PLACING = f""", wanted AS (
    SELECT id AS run_id, LEAST(%(likely)s::bigint, cap) AS amount, cap, %(is_shared)s::boolean AS is_shared, place
    FROM (SELECT id, price_version, max_credits * {CREDIT}::bigint AS cap, row_number() OVER () AS place FROM run) AS r
    WHERE price_version IS NOT NULL AND (%(likely)s > 0 OR cap IS NOT NULL)
), {holds.PLACING}"""  # noqa: S608  no outside text


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What one run is started with; see `start_run`."""

    inputs: Mapping[str, Any]
    credential_inputs: Mapping[str, Any] = field(default_factory=dict)
    nodes_input_masks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preset_id: UUID | None = None
    trigger_key: str | None = None
    request_hash: str = ""
    node_budget: int = NODE_BUDGET
    output_budget: int | None = None
    max_credits: int | None = None
    api_key_id: UUID | None = None
    key_has_budget: bool = False
    timeout_seconds: float | None = None
    dry_run: bool = False


def row_of(request: RunRequest, checks: RunChecks) -> dict[str, Any]:
    """The columns of `_OWN`, JSON as text; raises `NotRunnable`, `NotStorable` or `TooLarge`.

    What has started a run before is not refused because files have gone since.
    """
    of_nodes = checks.masks(request.credential_inputs, request.nodes_input_masks)
    answer = checks.answer(request.inputs, of_nodes)
    if answer.errors:
        raise NotRunnable(answer.errors)
    inputs, masks = encode(request.inputs), encode(of_nodes)
    if MARK in inputs or MARK in masks:
        missing = missing_files(checks, checks.definition.owner_id, request.inputs, of_nodes)
        if missing and not has_started(checks.definition.owner_id, request.trigger_key):
            raise NotRunnable(missing)
    return {
        "id": uuid7(),
        "trigger_key": request.trigger_key,
        "request_hash": request.request_hash,
        "inputs": inputs.decode(),
        "credential_inputs": _text(request.credential_inputs),
        "nodes_input_masks": masks.decode(),
        "nodes_to_skip": _text(sorted(answer.nodes_to_skip)),
        "is_dry_run": request.dry_run,
        "preset_id": request.preset_id,
        "node_budget": request.node_budget,
        "output_budget": settings.OUTPUTS_PER_RUN if request.output_budget is None else request.output_budget,
        "max_credits": request.max_credits,
        "api_key_id": request.api_key_id,
        "timeout_seconds": request.timeout_seconds,
    }


def insert(
    checks: RunChecks,
    parent: GraphExecution | None,
    rows: Sequence[dict[str, Any]],
    requests: Sequence[RunRequest],
    *,
    ring: bool,
) -> list[GraphExecution]:
    """Insert runs, from what `row_of` made of the requests, and announce them; with `ring`, to a worker, too.

    In place of one whose key has started a run before comes that run. Raises `GraphNotFound` when the graph was deleted
    meanwhile, `KeyReused`, and, where use is paid for, `InsufficientCredits` and `KeyBudgetUsedUp`.
    """
    graph = checks.definition
    runs = _insert_paid(checks, rows, requests) if _is_paid(parent, rows) else _insert_rows(checks, parent, rows)
    if runs:
        news = events.turn_of(graph.owner_id, graph.id, dict.fromkeys(runs, 1))
        hint = events.hint(graph.owner_id, news)
        if ring:
            queue.ring(list(runs), [hint])
        else:
            send(hints=[hint])
    others = [row for row in rows if row["id"] not in runs]
    if others:
        started = started_by(graph.owner_id, [(row["trigger_key"], row["request_hash"]) for row in others])
        runs.update(zip((row["id"] for row in others), started, strict=True))
    return [runs[row["id"]] for row in rows]


def has_started(user_id: UUID, trigger_key: str | None) -> bool:
    """Whether this trigger key has started a run of the user."""
    return trigger_key is not None and GraphExecution.objects.filter(user=user_id, trigger_key=trigger_key).exists()


def started_by(user_id: UUID, triggers: Sequence[tuple[str, str]]) -> list[GraphExecution]:
    """The runs that these trigger keys have started, in one query, each given with the hash of the request that asks.

    Raises `KeyReused` when a run was another request's; an empty hash stands for any.
    """
    runs = GraphExecution.objects.filter(user_id=user_id, trigger_key__in=[key for key, _ in triggers])
    started = {run.trigger_key: run for run in runs}
    for key, request_hash in triggers:
        if request_hash not in ("", started[key].request_hash):
            raise KeyReused(run_id=str(started[key].pk))
    return [started[key] for key, _ in triggers]


def _is_paid(parent: GraphExecution | None, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether one of these runs is paid for on its own: what is called is part of what called it."""
    return parent is None and funding.is_metered(is_dry_run=all(row["is_dry_run"] for row in rows))


def _insert_paid(
    checks: RunChecks, rows: Sequence[dict[str, Any]], requests: Sequence[RunRequest]
) -> dict[UUID, GraphExecution]:
    """Insert runs with the prices of now, and set credits aside for them.

    Raises `InsufficientCredits` and `KeyBudgetUsedUp`.
    """
    graph = checks.definition
    price_version = funding.prices_for(graph.owner_id)
    budgeted = {
        row["id"]: request.api_key_id
        for row, request in zip(rows, requests, strict=True)
        if request.key_has_budget and request.api_key_id is not None
    }
    if budgeted:
        caps = {row["id"]: row["max_credits"] for row in rows if not row["is_dry_run"]}
        wishes = funding.wishes(graph.id, graph.version, price_version, caps, budgeted)
        with transaction.atomic():
            runs = _insert_rows(checks, None, rows, price_version)
            holds.place(graph.owner_id, [wish for wish in wishes if wish.run_id in runs])
    else:
        runs = _insert_rows(checks, None, rows, price_version, sets_aside=True)
    if len(runs) < len(rows):
        # What was answered before is answered again.
        keys = [row["trigger_key"] for row in rows if row["id"] not in runs]
        if GraphExecution.objects.filter(user_id=graph.owner_id, trigger_key__in=keys).count() < len(keys):
            raise InsufficientCredits(NO_CREDITS, balance=balance_of(graph.owner_id), needed=1)
    return runs


def _insert_rows(
    checks: RunChecks,
    parent: GraphExecution | None,
    rows: Sequence[dict[str, Any]],
    price_version: int | None = None,
    *,
    sets_aside: bool = False,
) -> dict[UUID, GraphExecution]:
    """Insert those runs whose keys have not started one, and their first events.

    With a `price_version` they are paid for, and nothing is inserted for a user without credits; `sets_aside` says that
    each also gets what it is likely to use.
    """
    graph = checks.definition
    common: dict[str, Any] = {
        "user": graph.owner_id,
        "graph": graph.id,
        "version": graph.version,
        "parent": parent and parent.pk,
        "root": parent and (parent.root_id or parent.pk),
        "depth": parent.depth + 1 if parent else 0,
        "asks": parent and parent.human_in_the_loop_safe_mode,
        "is_careful": parent and parent.sensitive_action_safe_mode,
        "queued": EventKind.RUN_QUEUED.value,
        "price_version": price_version if parent is None else parent.price_version,
    }
    given, own = (_ONE, rows[0]) if len(rows) == 1 else (_MANY, {"runs": _document(rows)})
    gate = "" if price_version is None else _GATE
    placing = ""
    if sets_aside and price_version is not None:
        likely, is_shared = funding.likely_price(graph.id, graph.version, price_version)
        if likely or any(row["max_credits"] is not None for row in rows):
            placing = _PLACING
            common |= {"likely": likely, "is_shared": is_shared}
    try:
        inserted = fetch_prepared(_statement(given, gate, placing), common | own)
    except IntegrityError:
        raise GraphNotFound(graph_id=str(graph.id)) from None
    return {run.pk: run for run in map(_run_of, inserted)}


@cache
def _statement(given: str, gate: str, placing: str) -> str:
    """What inserts the runs in `given`, as short as can be: Postgres is to know it."""
    return " ".join(_INSERT.format(given=given, gate=gate, placing=placing, columns=", ".join(_NAMES)).split())


def _document(rows: Sequence[dict[str, Any]]) -> str:
    texts = [name for name, kind in _OWN.items() if kind == "jsonb"]
    return orjson.dumps([{**row, **{name: orjson.Fragment(row[name]) for name in texts}} for row in rows]).decode()


def _run_of(row: Sequence[Any]) -> GraphExecution:
    values = list(row)
    for place in _JSON:
        values[place] = loads(values[place])
    return GraphExecution.from_db(None, _NAMES, values)


def _text(value: object) -> str:
    return json.encode(value).decode()
