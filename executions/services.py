"""Decide about runs and change them; each function is one transaction.

Every way to start a run, be it a request, a command or another run, ends in `start_run`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from core import json
from core.after_commit import run_after_commit
from core.errors import Conflict
from core.hints import hints
from core.ids import uuid7
from executions import events, queue
from executions.checks import input_errors
from executions.errors import NoSuchRun, NotRunnable, TooDeep
from executions.kinds import FINAL, EventKind, NodeStatus, Status
from executions.models import Event, GraphExecution, NodeExecution, Review
from graphs.blocks.registry import BLOCKS
from graphs.errors import GraphNotFound
from graphs.services import load_definition

MAX_DEPTH = 8
NODE_BUDGET = 100_000
STOPPED = "The run was stopped."

_INSERT_RUN = """
WITH run AS (
    INSERT INTO executions_graphexecution (
        id, user_id, graph_id, graph_version, parent_id, root_id, depth, trigger_key, inputs, credential_inputs,
        nodes_input_masks, node_budget, deadline_at, human_in_the_loop_safe_mode, sensitive_action_safe_mode, head_seq)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s),
        COALESCE((SELECT human_in_the_loop_safe_mode FROM executions_graphexecution WHERE id = %s),
            (SELECT human_in_the_loop_safe_mode FROM graphs_graph WHERE id = %s)),
        COALESCE((SELECT sensitive_action_safe_mode FROM executions_graphexecution WHERE id = %s),
            (SELECT sensitive_action_safe_mode FROM graphs_graph WHERE id = %s)), 1)
    ON CONFLICT (user_id, trigger_key) WHERE trigger_key IS NOT NULL DO NOTHING
    RETURNING *
), event AS (
    INSERT INTO executions_event (run_id, seq, kind) SELECT id, 1, %s FROM run
)
SELECT * FROM run
"""

# A saved version never changes. One that is deleted with its graph is noticed by the foreign key of the run.
_definition_of = lru_cache(maxsize=1000)(load_definition)


def start_run(
    graph_id: UUID,
    graph_version: int,
    *,
    user_id: UUID,
    inputs: Mapping[str, Any],
    credential_inputs: Mapping[str, Any] | None = None,
    nodes_input_masks: Mapping[str, Mapping[str, Any]] | None = None,
    parent_id: UUID | None = None,
    trigger_key: str | None = None,
    node_budget: int = NODE_BUDGET,
    timeout_seconds: float | None = None,
    ring: bool = True,
) -> GraphExecution:
    """Queue a run of one of the user's graphs and tell a worker once it is committed.

    Whether people are asked is what the graph says now, or said when the calling run began.
    `inputs` go to the input nodes by name, `nodes_input_masks` (node id → pin → value) win over everything else.
    The run ends as FAILED when it would begin more than `node_budget` activations, or after `timeout_seconds`.
    With a `trigger_key` that started a run before, that run is returned and nothing is started. `ring=False` leaves
    telling a worker to the caller.

    Raises `GraphNotFound`, `NotRunnable` with the errors of each node and field, `NotStorable`, `TooDeep`, or
    `Conflict` when the parent run has ended or is asked to.
    """
    masks = nodes_input_masks or {}
    definition = _definition_of(graph_id, graph_version)
    if definition.owner_id != user_id:
        raise GraphNotFound(graph_id=str(graph_id))
    errors = input_errors(definition, inputs, masks, BLOCKS.get)
    if errors:
        raise NotRunnable(errors)
    root_id, depth = _lineage(parent_id)
    values = (
        uuid7(), user_id, graph_id, graph_version, parent_id, root_id, depth, trigger_key,
        _text(inputs), _text(credential_inputs or {}), _text(masks), node_budget, timeout_seconds,
        parent_id, graph_id, parent_id, graph_id, EventKind.RUN_QUEUED.value,
    )  # fmt: skip
    try:
        for run in GraphExecution.objects.raw(_INSERT_RUN, values):
            _announce(run.pk, user_id, graph_id, head_seq=1)
            if ring:
                queue.ring([run.pk])
            return run
    except IntegrityError:
        raise GraphNotFound(graph_id=str(graph_id)) from None
    return GraphExecution.objects.get(user_id=user_id, trigger_key=trigger_key)


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
                _terminate(run)
    return GraphExecution.objects.get(pk=run_id)


def delete_run(run_id: UUID) -> None:
    """Stop a run if need be and hide it from its owner's lists."""
    stop_run(run_id)
    GraphExecution.objects.filter(pk=run_id).update(is_deleted=True)


def _lineage(parent_id: UUID | None) -> tuple[UUID | None, int]:
    """The root and the depth of a run started by `parent_id`."""
    if parent_id is None:
        return None, 0
    parent = GraphExecution.objects.filter(pk=parent_id).first()
    if parent is None or parent.status in FINAL or parent.cancel_requested_at is not None:
        raise Conflict("The run that wanted to start this one is over")
    if parent.depth >= MAX_DEPTH:
        raise TooDeep(f"Graphs may run graphs up to {MAX_DEPTH} levels deep")
    return parent.root_id or parent.pk, parent.depth + 1


def _terminate(run: GraphExecution) -> None:
    """End a run that no worker holds. Its row is locked."""
    nodes = list(NodeExecution.objects.open_in(run.pk))
    head_seq = run.head_seq + len(nodes) + 1
    GraphExecution.objects.filter(pk=run.pk).end(Status.TERMINATED, head_seq, nodes=len(nodes))
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
        + [Event(run_id=run.pk, seq=head_seq, kind=EventKind.RUN_TERMINATED)]
    )
    if run.parent_id and GraphExecution.objects.filter(pk=run.parent_id).wake():
        queue.ring([run.parent_id])
    _announce(run.pk, run.user_id, run.graph_id, head_seq)


def _announce(run_id: UUID, user_id: UUID, graph_id: UUID, head_seq: int) -> None:
    """Tell those who watch the run, and those who watch all of the graph's, once the transaction commits."""
    about, hint = str(run_id), events.changed(run_id, head_seq)
    groups = [events.graph_group(user_id, graph_id)]
    # Nobody can watch a run yet that did not exist.
    if head_seq > 1:
        groups.append(events.run_group(run_id))
    run_after_commit(lambda: hints().send_threadsafe(groups, about, hint))


def _text(value: object) -> str:
    return json.encode(value).decode()
