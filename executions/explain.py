"""Saying what a run waits for: one sentence for each thing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import shorten
from typing import Any
from uuid import UUID

from django.conf import settings

from credits.errors import shown
from executions import previews
from executions.errors import NoSuchRun
from executions.kinds import ENGINE_VERSION, FINAL, NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, NodeTask, Review
from executions.picture import given_name
from executions.reading import block_name, rows_of, time_text
from graphs.services import load_definition

MAX_SENTENCES = 100
_LONGEST_ERROR = 300
_LONGEST_NAME = 100

_WORKERS = """
SELECT count(*) FROM executions_graphexecution
WHERE status = 'RUNNING' AND lease_until > clock_timestamp() GROUP BY lease_owner
"""

_PLACES_TAKEN = """
SELECT count(*), count(*) FILTER (WHERE graph_id = %s) FROM executions_graphexecution
WHERE user_id = %s AND status = 'RUNNING'
"""

_NEVER_RUN = """
SELECT n.id FROM graphs_node n JOIN graphs_graphversion v ON v.id = n.graph_version_id
WHERE v.graph_id = %s AND v.version = %s AND EXISTS (SELECT FROM graphs_link l WHERE l.sink_id = n.id)
    AND NOT EXISTS (SELECT FROM executions_nodeexecution e WHERE e.run_id = %s AND e.node_id = n.id)
ORDER BY n.position
"""


@dataclass(frozen=True, slots=True)
class Reasons:
    """What a run waits for. `stalled` names the nodes of an ended run that hold values but never got all."""

    status: Status
    sentences: list[str]
    stalled: list[dict[str, Any]]


def why(run_id: UUID) -> Reasons:
    """What a run waits for, at most `MAX_SENTENCES` sentences. Raises `NoSuchRun`."""
    run = GraphExecution.objects.filter(pk=run_id).first()
    if run is None:
        raise NoSuchRun(run_id=str(run_id))
    [(now,)] = rows_of("SELECT clock_timestamp()", [])
    sentences = list(_sentences(run, now))
    if len(sentences) > MAX_SENTENCES:
        more = len(sentences) - MAX_SENTENCES + 1
        sentences[MAX_SENTENCES - 1 :] = [f"There are {more} more reasons like these."]
    return Reasons(Status(run.status), sentences, run.stalled)


def _sentences(run: GraphExecution, now: datetime) -> Iterator[str]:
    if run.status in FINAL:
        yield from _about_end(run)
        return
    if run.cancel_requested_at is not None:
        asked = lasting(now - run.cancel_requested_at)
        yield f"It was asked to stop {asked} ago and ends as soon as its worker sees that."
    if run.status == Status.QUEUED:
        workers = [count for (count,) in rows_of(_WORKERS, [])]
        begin = f"Queued since {time_text(run.queued_at)} ({lasting(now - run.queued_at)})"
        reason = _of_unfit(run) or of_places(*rows_of(_PLACES_TAKEN, [run.graph_id, run.user_id])[0])
        yield f"{begin}: {reason or of_queue(was_driven=run.started_at is not None, runs_of_workers=workers)}"
    elif run.lease_until is not None and run.lease_until < now:
        silent = lasting(now - run.lease_until)
        yield f"The worker {run.lease_owner} fell silent: its lease ended {silent} ago, and another takes the run over."
    else:
        yield from _about_nodes(run, now)


def _of_unfit(run: GraphExecution) -> str:
    """That the workers there are cannot drive the run; empty if nothing is known of that."""
    if run.needs_engine > ENGINE_VERSION:
        return "it needs a worker of a newer release."
    if run.left_since is not None:
        until = run.left_since + timedelta(seconds=settings.BLOCK_PATIENCE_SECONDS)
        return (
            f"the worker {run.lease_owner} lacks a block of its graph and left it to others; "
            f"it fails if none takes it by {time_text(until)}."
        )
    return ""


def _about_nodes(run: GraphExecution, now: datetime) -> Iterator[str]:
    opened = list(NodeExecution.objects.open_in(run.pk).defer("input_data").order_by("started_at")[: MAX_SENTENCES + 1])
    called = [node.waits[-1]["child"] for node in opened if node.waits and "child" in node.waits[-1]]
    children = {str(child.pk): child for child in GraphExecution.objects.filter(pk__in=called)}
    asked = [node.waits[-1]["task"] for node in opened if node.waits and "task" in node.waits[-1]]
    tasks = {str(task.pk): task for task in NodeTask.objects.filter(pk__in=asked).defer("context", "input_data")}
    reviews = {
        review.node_execution_id: review
        for review in Review.objects.waiting().filter(run=run).defer("payload").order_by("turn")
    }
    names = _names(run) if opened else {}
    for node in opened:
        name = _name_of(node, names)
        if node.status == NodeStatus.REVIEW:
            yield of_review(name, reviews.get(node.pk), now)
        elif node.status == NodeStatus.WAITING:
            wait = node.waits[-1]
            if "task" in wait:
                yield of_task(name, tasks.get(wait["task"]), now)
                continue
            child = children.get(wait.get("child", ""))
            yield of_wait(name, wait, node.attempt, now, [] if child is None else list(_sentences(child, now)))
        else:
            yield (
                f"{name} is running for {lasting(now - node.started_at)}, attempt {node.attempt}, on worker "
                f"{run.lease_owner}, which holds the run until {time_text(run.lease_until)}."
            )
    if not opened:
        yield f"The worker {run.lease_owner} is at work on it and has no node under way that it has written down."


def _about_end(run: GraphExecution) -> Iterator[str]:
    reason = f": {run.error}" if run.error else ""
    yield f"It ended as {run.status} at {time_text(run.ended_at)}{reason.rstrip('.')}."
    names = _names(run)
    if run.node_error_count:
        failed = NodeExecution.objects.filter(run=run, status=NodeStatus.FAILED).order_by("ended_at", "pk")
        for node in failed.only("node_id", "block_id", "error")[: MAX_SENTENCES + 1]:
            yield of_failed(_name_of(node, names), node.error)
    for stalled in run.stalled:
        yield of_stalled(stalled, names[UUID(stalled["node_id"])])
    if run.status == Status.COMPLETED:
        held = {stalled["node_id"] for stalled in run.stalled}
        for (node_id,) in rows_of(_NEVER_RUN, [run.graph_id, run.graph_version, run.pk]):
            if str(node_id) not in held:
                yield f"{names[node_id]} never ran: no value reached it."


def _names(run: GraphExecution) -> dict[UUID, str]:
    """What the sentences call each node of the run's graph."""
    nodes = load_definition(run.graph_id, run.graph_version).nodes
    return {node.id: _name(node.block_id, given_name(node), node.id) for node in nodes}


def _name_of(node: NodeExecution, names: Mapping[UUID, str]) -> str:
    return names.get(node.node_id) or _name(node.block_id, "", node.node_id)


def _name(block_id: str, given: str, node_id: UUID) -> str:
    called = f" “{previews.preview(given, _LONGEST_NAME)}”" if given else ""
    return f"Node {block_name(block_id)}{called} {node_id}"


# --- Sentences, from plain data ---------------------------------------------------------------------------------


def of_places(of_user: int, of_graph: int) -> str:
    """That a user, or a graph of theirs, has as many runs under way as may be; empty if not."""
    if of_user >= settings.RUNS_PER_USER:
        return f"it waits for a free place: {of_user} of your {settings.RUNS_PER_USER} runs are under way."
    if of_graph >= settings.RUNS_PER_GRAPH:
        return f"it waits for a free place: {of_graph} of this graph's {settings.RUNS_PER_GRAPH} runs are under way."
    return ""


def of_queue(*, was_driven: bool, runs_of_workers: Sequence[int]) -> str:
    """Why a queued run is not driven; `runs_of_workers` is how many runs each worker that has any holds."""
    if not runs_of_workers:
        return "no worker took it yet, and none holds any run; is one started?"
    if min(runs_of_workers) >= settings.ENGINE_RUNS:
        return f"all {len(runs_of_workers)} workers that hold runs are full, with {settings.ENGINE_RUNS} each."
    return "no worker took it up again yet." if was_driven else "no worker took it yet."


def of_wait(name: str, wait: Mapping[str, Any], attempt: int, now: datetime, of_child: Sequence[str]) -> str:
    """What a waiting node waits for: a time, its next attempt, or a run that it called, with that run's own reasons."""
    if "child" in wait:
        reasons = " ".join(of_child) or "It is gone."
        return f"{name} waits for the run {wait['child']} that it called, which itself: {reasons}"
    if "funded" in wait:
        return f"{name} is paid for, and runs as soon as others of its run have made room."
    if "credits" in wait:
        return f"{name} waits for credits: it costs {shown(wait['credits'])}, and less is left."
    until = datetime.fromisoformat(wait["until"])
    when = f"{time_text(until)} ({'in ' + lasting(until - now) if until > now else 'due now'})"
    if "retry" in wait:
        return f"{name} is tried again at {when}, attempt {attempt + 1}, after: {wait['retry']}"
    return f"{name} waits for its timer until {when}."


def of_review(name: str, review: Review | None, now: datetime) -> str:
    """What a node waits for that asked a person; without a `review` that waits, somebody has decided."""
    if review is None:
        return f"{name} asked a person, who has decided: it goes on as soon as a worker takes it up."
    since = f"{time_text(review.created_at)} ({lasting(now - review.created_at)})"
    about = previews.preview(review.instructions, 200)
    return f"{name} waits since {since} for a person to decide about “{about}”, as {review.node_execution_id}."


def of_task(name: str, task: NodeTask | None, now: datetime) -> str:
    """What a node waits for whose block runs in a process of its own."""
    if task is None or task.ended_at is not None:
        return f"{name} has run in a process of its own; what came of it is taken up next."
    if task.started_at is None or task.lease_until is None:
        asked = f"since {time_text(task.asked_at)} ({lasting(now - task.asked_at)})"
        return f"{name} waits {asked} to be run in a process of its own; no worker of the queue isolated has taken it."
    running = f"for {lasting(now - task.started_at)} in a process of its own on worker {task.lease_owner}"
    if task.lease_until < now:
        silent = lasting(now - task.lease_until)
        return f"{name} ran {running}, which fell silent: its lease ended {silent} ago, and another takes it over."
    given = f"; it has given {task.output_count} outputs so far" if task.output_count else ""
    return f"{name} is running {running}{given}."


def of_failed(name: str, error: str) -> str:
    """A node that failed, with the beginning of what it said."""
    return f"{name} failed: {shorten(error, _LONGEST_ERROR, placeholder=' …').rstrip('.') or 'it did not say why'}."


def of_stalled(stalled: Mapping[str, Any], name: str) -> str:
    """A node that holds values but never got all."""
    pins = ", ".join(stalled["missing"])
    return f"{name} holds values but never ran on them: no value came to {pins}."


def lasting(time: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = max(0.0, time.total_seconds())
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
