"""What clients read of runs: the contract's objects, assembled from rows in few queries.

Lists and events show values as previews (see `executions.previews`); the detail of a run has them whole up to a
budget. `truncated` says whether something was cut. Ids and times are texts, as they are on the wire.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, QuerySet, TextField
from django.db.models.expressions import RawSQL

from core.sql import fetch_prepared
from credits.kinds import CREDIT
from executions import blobs, previews
from executions.kinds import NodeStatus, Status
from executions.links import digest_of, token_of
from executions.models import GraphExecution, NodeExecution
from executions.picture import NodeState, draw_run
from graphs.blocks.base import Kind
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock
from graphs.models import Node
from graphs.services import load_definition

Wire = dict[str, Any]

MAX_LISTED = 250
MAX_NODES = 1000
# Outputs of one run, and of one activation, that are shown; the others are counted.
MAX_OUTPUTS = 1000
# Characters of JSON that the values in one detail may have together before the rest is cut.
BUDGET = 16 * 1024 * 1024
_MAX_ROWS = 20_000

# The counters of a run that has not begun; times are seconds. Processor time is not measured: it stays 0.
NO_STATS: Wire = {
    "cost": 0,
    "duration": 0.0,
    "duration_cpu_only": 0.0,
    "node_exec_time": 0.0,
    "node_exec_time_cpu_only": 0.0,
    "node_exec_count": 0,
    "node_error_count": 0,
    "error": None,
    "activity_status": None,
    "correctness_score": None,
}

_RUN = "executions_graphexecution"
_OBJECTS = ("inputs", "credential_inputs", "nodes_input_masks")

_COLUMNS = {name: f'"{_RUN}"."{name}"' for name in _OBJECTS}
# What is read of a run instead of its long values: the previews of each, and whether anything is missing in them.
PREVIEWS = {
    **{f"{name}_shown": previews.cut_object_in_sql(column) for name, column in _COLUMNS.items()},
    "is_cut": f"NOT ({' AND '.join(map(previews.short_in_sql, _COLUMNS.values()))})",
}

_FITS = f"sum(size) OVER (ORDER BY {{}}) <= {BUDGET}"

_SIZE_OF_BLOB = "(SELECT size FROM executions_blob WHERE user_id = %(user)s AND hash = {})"

_NODES = f"""
WITH page AS (
    SELECT *, octet_length(input_data::text) + coalesce(
        (SELECT sum({_SIZE_OF_BLOB.format("reference.value")}) FROM jsonb_each_text(input_blobs) reference), 0) AS size
    FROM executions_nodeexecution WHERE run_id = %(run)s
    ORDER BY started_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
), measured AS (
    SELECT *, {_FITS.format("started_at DESC, id DESC")} AS fits FROM page
)
SELECT id, node_id, block_id, status, output_count, started_at, ended_at,
    {previews.cut_object_in_sql("input_data", "fits")}, CASE WHEN fits THEN input_blobs::text END, NOT fits
FROM measured ORDER BY started_at, id
"""  # noqa: S608  all parts are constants

_OUTPUTS_OF_NODES = f"""
WITH page AS (
    SELECT node_execution_id, ordinal, pin, value, blob,
        coalesce({_SIZE_OF_BLOB.format("blob")}, octet_length(value::text)) AS size FROM executions_nodeoutput
    WHERE run_id = %(run)s AND node_execution_id = ANY(%(ids)s) AND ordinal < {MAX_OUTPUTS}
    ORDER BY node_execution_id, ordinal LIMIT {_MAX_ROWS}
), measured AS (
    SELECT *, {_FITS.format("node_execution_id, ordinal")} OR size <= {2 * previews.EDGE} AS fits FROM page
)
SELECT node_execution_id, pin, {previews.cut_in_sql("value", "fits OR blob IS NOT NULL")}, CASE WHEN fits THEN blob END,
    NOT fits
FROM measured ORDER BY node_execution_id, ordinal
"""  # noqa: S608  all parts are constants

_STATES = """
SELECT node_id, status, count(*), sum(extract(epoch FROM coalesce(ended_at, now()) - started_at))::float8
FROM executions_nodeexecution WHERE run_id = %s GROUP BY node_id, status
"""
# Of a node's activations the first of these is shown.
_TELLING = ["RUNNING", "FAILED", "REVIEW", "WAITING", "TERMINATED", "COMPLETED"]

# The offset keeps the planner from reading all activations of the runs to find a few.
_OUTPUTS_OF_RUNS = f"""
WITH given AS (
    SELECT found.*,
        coalesce({_SIZE_OF_BLOB.format("found.blob")}, octet_length(found.value::text)) AS size
    FROM unnest(%(runs)s::uuid[]) AS wanted(run_id) CROSS JOIN LATERAL (
        SELECT run_id, id, ended_at, input_data ->> 'name' AS name, input_data -> 'value' AS value,
            input_blobs ->> 'value' AS blob
        FROM executions_nodeexecution
        WHERE run_id = wanted.run_id AND node_id = ANY(%(nodes)s) AND status = 'COMPLETED' AND input_data ? 'value'
        ORDER BY ended_at DESC, id DESC LIMIT {MAX_OUTPUTS + 1} OFFSET 0
    ) AS found
), measured AS (
    SELECT *, {_FITS.format("ended_at DESC, id DESC")} AND (%(whole)s OR size <= {previews.FETCHED_LENGTH})
        OR size <= {2 * previews.EDGE} AS fits FROM given
)
SELECT run_id, name, {previews.cut_in_sql("value", "fits OR blob IS NOT NULL")}, CASE WHEN fits THEN blob END, NOT fits
FROM measured ORDER BY ended_at, id
"""  # noqa: S608  all parts are constants
# Graph versions whose output nodes are remembered.
_MAX_VERSIONS = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of some values, and whether that is less than there is."""

    values: dict[str, Any]
    truncated: bool


# --- Runs -------------------------------------------------------------------------------------------------------


def run_meta(run: GraphExecution) -> Wire:
    """A run as the contract's GraphExecutionMeta, its values whole."""
    return _run(run, {name: Shown(getattr(run, name), truncated=False) for name in _OBJECTS})


def with_previews(runs: QuerySet[GraphExecution]) -> QuerySet[GraphExecution]:
    """The same runs, to be read without their long values: pass them to `listed_run`."""
    is_cut = RawSQL(PREVIEWS["is_cut"], [], output_field=BooleanField())  # noqa: S611  only constants
    shown = {
        name: RawSQL(expression, [], output_field=TextField())  # noqa: S611  as above
        for name, expression in PREVIEWS.items()
        if name != "is_cut"
    }
    return runs.defer(*_OBJECTS).annotate(**shown, is_cut=is_cut)


def listed_run(run: GraphExecution) -> Wire:
    """A run read `with_previews` as the contract's GraphExecutionMeta, its values as previews."""
    return _run(run, {name: _previewed(run, name) for name in _OBJECTS})


def runs_with_outputs(runs: Sequence[GraphExecution]) -> list[Wire]:
    """Runs of one user, read `with_previews`, as the contract's GraphExecution, values and outputs as previews."""
    outputs = outputs_of(runs, whole=False)
    return [_with_outputs(listed_run(run), outputs[run.pk]) for run in runs]


def run_detail(run: GraphExecution, *, page: int = 1, page_size: int = MAX_NODES) -> Wire:
    """A run as the contract's GraphExecutionWithNodes, its values whole up to a budget.

    Page 1 has the newest activations, page 2 those before; within a page the oldest come first.
    """
    outputs = outputs_of([run], whole=True)[run.pk]
    nodes = _nodes(run, page, page_size)
    has_all = page == 1 and len(nodes) < page_size
    total = len(nodes) if has_all else NodeExecution.objects.filter(run=run.pk).count()
    return {
        **run_meta(run),
        "outputs": outputs.values,
        "truncated": outputs.truncated,
        "stalled": run.stalled,
        "nodes_to_skip": run.nodes_to_skip,
        "node_executions": nodes,
        "node_pagination": {
            "total_items": total,
            "total_pages": -(-total // page_size),
            "current_page": page,
            "page_size": page_size,
        },
    }


def outputs_of(runs: Sequence[GraphExecution], *, whole: bool) -> dict[UUID, Shown]:
    """The newest outputs of each run by name, oldest first: what its completed output nodes were given."""
    versions = {(run.graph_id, run.graph_version) for run in runs}
    node_ids = [node_id for version in versions for node_id in _output_nodes(*version)]
    found: dict[UUID, list[tuple[Any, ...]]] = {run.pk: [] for run in runs}
    if node_ids:
        arguments = {"user": runs[0].user_id, "runs": list(found), "nodes": node_ids, "whole": whole}
        for run_id, *row in fetch_prepared(_OUTPUTS_OF_RUNS, arguments):
            found[run_id].append(tuple(row))
    large = blobs.values_of(runs[0].user_id, (row[2] for rows in found.values() for row in rows)) if node_ids else {}
    return {run_id: _shown_outputs(rows, large, whole=whole) for run_id, rows in found.items()}


def _run(run: GraphExecution, objects: Mapping[str, Shown]) -> Wire:
    status = Status(run.status)
    return {
        "id": str(run.pk),
        "user_id": str(run.user_id),
        "graph_id": str(run.graph_id),
        "graph_version": run.graph_version,
        **{name: shown.values for name, shown in objects.items()},
        "preset_id": run.preset_id and str(run.preset_id),
        "is_dry_run": run.is_dry_run,
        "source_run_id": run.source_run_id and str(run.source_run_id),
        "source_node_id": run.source_node_id and str(run.source_node_id),
        "status": status.wire,
        "started_at": time_text(run.started_at),
        "ended_at": time_text(run.ended_at),
        "is_shared": run.shared_at is not None,
        "share_token": _share_token(run),
        "stats": _stats(run),
        "seq": run.head_seq,
        "error": run.error or None,
        "error_code": run.error_code or None,
        "waiting": status is Status.WAITING,
        "truncated": any(shown.truncated for shown in objects.values()),
    }


def _share_token(run: GraphExecution) -> str | None:
    """The token of the run's link; None also when the server's secret is no longer the one that it was made with."""
    if run.share_nonce is None:
        return None
    token = token_of(run.share_nonce)
    return token if digest_of(token) == run.share_digest else None


def _stats(run: GraphExecution) -> Wire:
    duration = 0.0
    if run.started_at is not None:
        duration = max(0.0, ((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds())
    return {
        **NO_STATS,
        # Nothing that cost something looks free.
        "cost": -(-run.spent // CREDIT),
        "duration": duration,
        "node_exec_time": run.node_seconds,
        "node_exec_count": run.node_count,
        "node_error_count": run.node_error_count,
        "error": run.error or None,
    }


def _with_outputs(run: Wire, outputs: Shown) -> Wire:
    return {**run, "outputs": outputs.values, "truncated": run["truncated"] or outputs.truncated}


def _shown_outputs(rows: Sequence[tuple[Any, ...]], large: Mapping[str, Any], *, whole: bool) -> Shown:
    truncated = len(rows) > MAX_OUTPUTS
    outputs: dict[str, list[Any]] = {}
    for name, text, blob, cut in rows[-MAX_OUTPUTS:]:
        value = large[blob] if blob else json.loads(text)
        shown = value if whole else previews.preview(value)
        truncated = truncated or cut or shown is not value
        outputs.setdefault(name or "", []).append(shown)
    return Shown(outputs, truncated)


@lru_cache(_MAX_VERSIONS)
def _output_nodes(graph_id: UUID, version: int) -> tuple[UUID, ...]:
    """The nodes of a graph's version that give the run's outputs; a saved version never changes."""
    blocks = [block.id for block in BLOCKS.all() if block.kind is Kind.OUTPUT]
    nodes = Node.objects.filter(graph_version__graph_id=graph_id, graph_version__version=version, block_id__in=blocks)
    return tuple(nodes.values_list("pk", flat=True))


# --- Activations ------------------------------------------------------------------------------------------------


def node_result(
    run: GraphExecution,
    *,
    node_execution_id: UUID,
    node_id: UUID,
    block_id: str,
    status: NodeStatus,
    input_data: Mapping[str, Any],
    outputs: Iterable[tuple[str, Any]],
    output_count: int,
    started_at: datetime,
    ended_at: datetime | None,
    truncated: bool,
) -> Wire:
    """An activation as the contract's NodeExecutionResult; `output_count` is how many outputs it gave by then."""
    output_data: dict[str, list[Any]] = {}
    for pin, value in outputs:
        output_data.setdefault(pin, []).append(value)
    started = time_text(started_at)
    return {
        "user_id": str(run.user_id),
        "graph_id": str(run.graph_id),
        "graph_version": run.graph_version,
        "graph_exec_id": str(run.pk),
        "node_exec_id": str(node_execution_id),
        "node_id": str(node_id),
        "block_id": block_id,
        "status": status.wire,
        "input_data": input_data,
        "output_data": output_data,
        "add_time": started,
        "queue_time": started,
        "start_time": started,
        "end_time": time_text(ended_at),
        "output_count": output_count,
        "waiting": status is NodeStatus.WAITING,
        "truncated": truncated,
    }


def _nodes(run: GraphExecution, page: int, page_size: int) -> list[Wire]:
    of_run = {"user": run.user_id, "run": run.pk}
    rows = fetch_prepared(_NODES, {**of_run, "limit": page_size, "offset": (page - 1) * page_size})
    if not rows:
        return []
    given = fetch_prepared(_OUTPUTS_OF_NODES, {**of_run, "ids": [row[0] for row in rows]})
    references = {row[0]: json.loads(row[8]) for row in rows if row[8] is not None}
    named = [blob for of_node in references.values() for blob in of_node.values()]
    large = blobs.values_of(run.user_id, [*named, *(row[3] for row in given)])
    outputs: dict[UUID, list[tuple[str, Any]]] = {}
    cut_nodes: set[UUID] = set()
    for node_execution_id, pin, text, blob, cut in given:
        outputs.setdefault(node_execution_id, []).append((pin, large[blob] if blob else json.loads(text)))
        if cut:
            cut_nodes.add(node_execution_id)
    return [
        node_result(
            run,
            node_execution_id=pk,
            node_id=node_id,
            block_id=block_id,
            status=NodeStatus(status),
            input_data={**json.loads(text), **{pin: large[blob] for pin, blob in references.get(pk, {}).items()}},
            outputs=outputs.get(pk, []),
            output_count=output_count,
            started_at=started_at,
            ended_at=ended_at,
            truncated=cut or pk in cut_nodes or output_count > len(outputs.get(pk, [])),
        )
        for pk, node_id, block_id, status, output_count, started_at, ended_at, text, _, cut in rows
    ]


def picture_of(run: GraphExecution) -> str:
    """The run as an SVG document, as it is now."""
    definition = load_definition(run.graph_id, run.graph_version)
    status = Status(run.status)
    return draw_run(
        definition,
        _node_states(run),
        status=status.value,
        seconds=_stats(run)["duration"] if run.started_at else None,
        block_name=block_name,
    )


def _node_states(run: GraphExecution) -> dict[UUID, NodeState]:
    """For each node the most telling state of its activations, their number and their seconds."""
    found: dict[UUID, list[tuple[str, int, float]]] = {}
    for node_id, status, times, seconds in rows_of(_STATES, [run.pk]):
        found.setdefault(node_id, []).append((status, times, seconds))
    return {
        node_id: NodeState(
            status=min((status for status, _, _ in states), key=_TELLING.index),
            times=sum(times for _, times, _ in states),
            seconds=sum(seconds for _, _, seconds in states),
        )
        for node_id, states in found.items()
    }


def block_name(block_id: str) -> str:
    """A block's name; of one that is not installed the beginning of its id."""
    try:
        return BLOCKS.get(block_id).name
    except UnknownBlock:
        return f"block {block_id[:8]}"


# --- Small things -----------------------------------------------------------------------------------------------


def time_text(time: datetime | None) -> str | None:
    """A time as it is on the wire: ISO 8601 in UTC."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _previewed(run: GraphExecution, name: str) -> Shown:
    values = json.loads(getattr(run, f"{name}_shown"))
    shown = previews.preview_entries(values)
    return Shown(shown, truncated=run.is_cut or shown != values)  # type: ignore[attr-defined]  # annotated


def rows_of(query: str, arguments: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What a query finds; jsonb comes as text."""
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return list(cursor.fetchall())
