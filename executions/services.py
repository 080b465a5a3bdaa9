"""Decide about runs and change them; each function is one transaction.

Every way to start a run, be it a request, a command or another run, ends in `start_run` or `start_runs`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from json import loads
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import JSONField

from core import json
from core.after_commit import send
from core.errors import Conflict, Invalid
from core.ids import uuid7
from core.sql import fetch_prepared
from credits import holds
from credits.balances import balance_of
from credits.errors import InsufficientCredits
from credits.kinds import CREDIT
from executions import events, funding, queue
from executions.checks import RunChecks
from executions.encoding import encode
from executions.errors import Fenced, KeyReused, NoSuchRun, NotRunnable, RefusedInBatch, TooDeep
from executions.kinds import FINAL, EventKind, NodeStatus, Status
from executions.models import Event, GraphExecution, NodeExecution, Review
from executions.workspace import MARK, missing_files
from graphs.blocks.registry import BLOCKS
from graphs.errors import GraphNotFound
from graphs.services import load_definition

MAX_DEPTH = 8
NODE_BUDGET = 100_000
STOPPED = "The run was stopped."
GIVEN_UP = "The run was given up."
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


def start_run(
    graph_id: UUID,
    graph_version: int,
    *,
    user_id: UUID,
    inputs: Mapping[str, Any],
    credential_inputs: Mapping[str, Any] | None = None,
    nodes_input_masks: Mapping[str, Mapping[str, Any]] | None = None,
    preset_id: UUID | None = None,
    parent_id: UUID | None = None,
    trigger_key: str | None = None,
    request_hash: str = "",
    node_budget: int = NODE_BUDGET,
    output_budget: int | None = None,
    max_credits: int | None = None,
    api_key_id: UUID | None = None,
    key_has_budget: bool = False,
    timeout_seconds: float | None = None,
    dry_run: bool = False,
    ring: bool = True,
) -> GraphExecution:
    """Queue a run of one of the user's graphs and tell a worker once it is committed.

    Whether people are asked is what the graph says now, or said when the calling run began.
    `inputs` go to the input nodes by name, `nodes_input_masks` (node id → pin → value) win over everything else.
    `credential_inputs` go to the nodes by their names in the graph's `credentials_input_schema`; runs that it calls
    are given the same.
    `preset_id` is written down as what it was started from; see `executions.presets`.
    The run ends as FAILED when it would begin more than `node_budget` activations or give more than `output_budget`
    outputs (`TASKLOOM_OUTPUTS_PER_RUN` unless given), or after `timeout_seconds`; or, where use is paid for, when it
    and what it calls would use more than `max_credits`, or than is left of the budget of an API key that has one.
    A dry run, and what it calls, has no effects and costs nothing: what does more than compute gives an example.
    With a `trigger_key` that started a run before, that run is returned and nothing is started, or `KeyReused` raised
    if a `request_hash` is given and that run had another. `ring=False` leaves telling a worker to the caller.

    Raises `GraphNotFound`, `NotRunnable` with the errors of each node and field, `NotStorable`, `TooDeep`,
    `InsufficientCredits` where use is paid for and the user has nothing left, `KeyBudgetUsedUp` when nothing is left of
    the key's budget, or `Conflict` when the parent run has ended or is asked to.
    """
    checks = _checks_for(user_id, graph_id, graph_version)
    parent = _parent(parent_id)
    request = RunRequest(
        inputs=inputs,
        credential_inputs=(credential_inputs or {}) if parent is None else parent.credential_inputs,
        nodes_input_masks=nodes_input_masks or {},
        preset_id=preset_id,
        trigger_key=trigger_key,
        request_hash=request_hash,
        node_budget=node_budget,
        output_budget=output_budget,
        max_credits=max_credits,
        api_key_id=api_key_id if parent is None else parent.api_key_id,
        key_has_budget=key_has_budget,
        timeout_seconds=timeout_seconds,
        dry_run=dry_run or (parent is not None and parent.is_dry_run),
    )
    return _insert(checks, parent, [_row_of(request, checks)], [request], ring=ring)[0]


def start_runs(
    graph_id: UUID, graph_version: int, *, user_id: UUID, runs: Sequence[RunRequest], ring: bool = True
) -> list[GraphExecution]:
    """Queue runs of one of the user's graphs, all or none, and tell workers once they are committed.

    Each is started as by `start_run`; the answer is in the order of `runs`. Raises what that does, but for
    `NotRunnable` and `NotStorable`: a run that they would refuse is named by `RefusedInBatch`.
    """
    checks = _checks_for(user_id, graph_id, graph_version)
    rows = []
    for index, request in enumerate(runs):
        try:
            rows.append(_row_of(request, checks))
        except Invalid as error:
            raise RefusedInBatch(index, error) from None
    try:
        # A key that turns out to be another request's takes back what was inserted beside it.
        with transaction.atomic():
            return _insert(checks, None, rows, runs, ring=ring) if rows else []
    # The foreign key is looked at when the transaction ends.
    except IntegrityError:
        raise GraphNotFound(graph_id=str(graph_id)) from None


def check_run(
    graph_id: UUID,
    graph_version: int,
    *,
    user_id: UUID,
    inputs: Mapping[str, Any],
    credential_inputs: Mapping[str, Any],
    nodes_input_masks: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Raise what `start_run` would raise for these, and start nothing."""
    request = RunRequest(inputs=inputs, credential_inputs=credential_inputs, nodes_input_masks=nodes_input_masks or {})
    _row_of(request, _checks_for(user_id, graph_id, graph_version))


def trigger_node_of(graph_id: UUID, graph_version: int, *, user_id: UUID) -> str | None:
    """The id of the node with which events start one of the user's graphs; raises `GraphNotFound`."""
    return _checks_for(user_id, graph_id, graph_version).trigger_id


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


def stop_run(run_id: UUID) -> GraphExecution:
    """Ask a run and everything it started to stop. What no worker holds ends at once, the rest within moments.

    Reviews that wait in them are rejected. A run that has ended stays as it is. Raises `NoSuchRun`.
    """
    with transaction.atomic():
        runs = list(GraphExecution.objects.descendants_of(run_id).locked())
        if not any(run.pk == run_id for run in runs):
            raise NoSuchRun(run_id=str(run_id))
        Review.objects.filter(run__in=[run for run in runs if run.status not in FINAL]).close(STOPPED)
        for run in runs:
            if run.status == Status.RUNNING:
                GraphExecution.objects.filter(pk=run.pk).request_cancel()
            elif run.status not in FINAL:
                _end(run, Status.TERMINATED)
    return GraphExecution.objects.get(pk=run_id)


def give_up(run_id: UUID, fence: int, owner: str, error_code: str, error: str) -> None:
    """End a run as FAILED, and what is under way in it, for its `owner`, a worker that cannot drive it.

    Raises `Fenced` when another worker has taken it over.
    """
    with transaction.atomic():
        run = (
            GraphExecution.objects.filter(pk=run_id, fence=fence, lease_owner=owner, status=Status.RUNNING)
            .locked()
            .first()
        )
        if run is None:
            raise Fenced
        Review.objects.filter(run=run).close(GIVEN_UP)
        _end(run, Status.FAILED, error_code, error)


def delete_run(run_id: UUID) -> None:
    """Stop a run if need be and hide it from its owner's lists."""
    stop_run(run_id)
    GraphExecution.objects.filter(pk=run_id).update(is_deleted=True)


# A saved version never changes. One that is deleted with its graph is noticed by the foreign key of the run.
@lru_cache(maxsize=1000)
def _checks_of(graph_id: UUID, graph_version: int) -> RunChecks:
    return RunChecks(load_definition(graph_id, graph_version), BLOCKS.get)


def _checks_for(user_id: UUID, graph_id: UUID, graph_version: int) -> RunChecks:
    checks = _checks_of(graph_id, graph_version)
    if checks.definition.owner_id != user_id:
        raise GraphNotFound(graph_id=str(graph_id))
    return checks


def _parent(run_id: UUID | None) -> GraphExecution | None:
    """The run that wants to start another, if it may."""
    if run_id is None:
        return None
    parent = GraphExecution.objects.filter(pk=run_id).first()
    if parent is None or parent.status in FINAL or parent.cancel_requested_at is not None:
        raise Conflict("The run that wanted to start this one is over")
    if parent.depth >= MAX_DEPTH:
        raise TooDeep(f"Graphs may run graphs up to {MAX_DEPTH} levels deep")
    return parent


def _row_of(request: RunRequest, checks: RunChecks) -> dict[str, Any]:
    """The columns of `_OWN`, JSON as text; raises `NotRunnable`, `NotStorable` or `TooLarge`."""
    of_nodes = checks.masks(request.credential_inputs, request.nodes_input_masks)
    answer = checks.answer(request.inputs, of_nodes)
    if answer.errors:
        raise NotRunnable(answer.errors)
    inputs, masks = encode(request.inputs), encode(of_nodes)
    if MARK in inputs or MARK in masks:
        missing = missing_files(checks, checks.definition.owner_id, request.inputs, of_nodes)
        if missing:
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


def _insert(
    checks: RunChecks,
    parent: GraphExecution | None,
    rows: Sequence[dict[str, Any]],
    requests: Sequence[RunRequest],
    *,
    ring: bool,
) -> list[GraphExecution]:
    """Insert runs and announce them; in place of one whose key has started a run before comes that run."""
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


def _end(run: GraphExecution, status: Status, error_code: str = "", error: str = "") -> None:
    """End a run that no worker drives, and what is under way in it. Its row is locked."""
    nodes = list(NodeExecution.objects.open_in(run.pk))
    head_seq = run.head_seq + len(nodes) + 1
    GraphExecution.objects.filter(pk=run.pk).end(status, head_seq, nodes=len(nodes), error_code=error_code, error=error)
    NodeExecution.objects.open_in(run.pk).end(NodeStatus.TERMINATED)
    Event.objects.bulk_create(
        [
            Event(
                run_id=run.pk,
                seq=run.head_seq + place,
                kind=EventKind.NODE_TERMINATED,
                node_execution_id=node.pk,
                outputs=node.output_count,
            )
            for place, node in enumerate(nodes, start=1)
        ]
        + [Event(run_id=run.pk, seq=head_seq, kind=EventKind[f"RUN_{status}"])]
    )
    if run.parent_id and GraphExecution.objects.filter(pk=run.parent_id).wake():
        queue.ring([run.parent_id])
    # Holds and accounts are locked after runs, here as everywhere.
    if run.price_version is not None:
        holds.release(run.pk)
    _announce(run.pk, run.user_id, run.graph_id, head_seq)


def _announce(run_id: UUID, user_id: UUID, graph_id: UUID, head_seq: int) -> None:
    """Tell those who watch the run, and those who watch all of the graph's, once the transaction commits."""
    news = {**events.event_of(run_id, head_seq), **events.turn_of(user_id, graph_id, {run_id: head_seq})}
    send(hints=[events.hint(user_id, news)])


def _text(value: object) -> str:
    return json.encode(value).decode()
