"""Decide about runs and change them; each function is one transaction.

Every way to start a run, be it a request, a command or another run, ends in `start_run` or `start_runs`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from core.after_commit import send
from core.errors import Conflict, Invalid
from credits import holds
from executions import events, queue
from executions.checks import RunChecks
from executions.errors import Fenced, NoSuchRun, RefusedInBatch, TooDeep
from executions.kinds import FINAL, EventKind, NodeStatus, Status
from executions.models import Event, GraphExecution, NodeExecution, Review
from executions.new_runs import NODE_BUDGET, RunRequest, insert, row_of
from graphs.blocks.registry import BLOCKS
from graphs.errors import GraphNotFound
from graphs.services import load_definition

MAX_DEPTH = 8
STOPPED = "The run was stopped."
GIVEN_UP = "The run was given up."


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
    return insert(checks, parent, [row_of(request, checks)], [request], ring=ring)[0]


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
            rows.append(row_of(request, checks))
        except Invalid as error:
            raise RefusedInBatch(index, error) from None
    try:
        # A key that turns out to be another request's takes back what was inserted beside it.
        with transaction.atomic():
            return insert(checks, None, rows, runs, ring=ring) if rows else []
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
    row_of(request, _checks_for(user_id, graph_id, graph_version))


def trigger_node_of(graph_id: UUID, graph_version: int, *, user_id: UUID) -> str | None:
    """The id of the node with which events start one of the user's graphs; raises `GraphNotFound`."""
    return _checks_for(user_id, graph_id, graph_version).trigger_id


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
