"""What activations did to the world, and the blocks that run in processes of their own."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from core import json
from executions.kinds import EventKind, NodeStatus
from executions.models import NodeExecution, NodeTask, NodeTaskPart
from graphs.blocks.base import Effect
from graphs.blocks.registry import BLOCKS
from tests.invariants.rows import Rows

# A host looks whether its block is still wanted at least this often.
GRACE = timedelta(seconds=20)


def intents(rows: Rows) -> Iterator[str]:
    """I9: whoever may have had an effect said so before, and began it again only for a reason that is written down."""
    if rows.plan is None or rows.run.is_dry_run:
        return
    for node in rows.nodes:
        planned = rows.plan.nodes[node.node_id]
        if planned.runs_in_place or node.started_fence == 0 or str(node.node_id) in rows.run.nodes_to_skip:
            continue
        told = [event.kind for event in rows.events_of.get(node.pk, [])]
        gave = [place for place, kind in enumerate(told) if kind in (EventKind.NODE_OUTPUT, EventKind.NODE_COMPLETED)]
        if gave and EventKind.NODE_STARTED not in told[: gave[0]]:
            yield f"{planned.block.name} {node} gave something without an intent: {told}"
        retries = sum("retry" in wait for wait in node.waits)
        is_own = rows.run.source_run_id is None
        if planned.block.effect is Effect.UNSAFE and is_own and node.attempt > 1 + retries:
            yield f"{planned.block.name} {node} must not be repeated and was begun {node.attempt} times"


def apart(rows: Rows) -> Iterator[str]:
    """What came of a process of its own is what its activation gave: each part, once; and none goes on for nobody."""
    nodes = {node.pk: node for node in rows.nodes}
    parts: dict[object, list[NodeTaskPart]] = {}
    if rows.tasks:
        for part in NodeTaskPart.objects.filter(task__run=rows.run.pk).order_by("task", "first"):
            parts.setdefault(part.task_id, []).append(part)
    for task in rows.tasks:
        node = nodes.get(task.node_execution_id)
        if node is None:
            yield f"has a task of an activation that is not there: {task}"
            continue
        yield from _parts(task, parts.get(task.pk, []))
        yield from _ending(rows, node, task)
        # A block that was lost may have found out that it had its effect.
        found_out = task.is_lost and BLOCKS.get(node.block_id).effect is Effect.VERIFIABLE
        if node.status == NodeStatus.COMPLETED and task.turn == len(node.waits) - 1 and not found_out:
            yield from _outcome(rows, node, task, parts.get(task.pk, []))


def _parts(task: NodeTask, parts: list[NodeTaskPart]) -> Iterator[str]:
    end = 0
    for part in parts:
        if part.first != end or part.count != len(json.decode(bytes(part.outputs).decode())):
            yield f"task {task} has the part {part} after output {end}"
        end = part.first + part.count
    if end != task.output_count:
        yield f"task {task} counts {task.output_count} outputs and has {end}"


def _ending(rows: Rows, node: NodeExecution, task: NodeTask) -> Iterator[str]:
    run = rows.run
    if task.lease_until is not None and run.ended_at is not None and run.ended_at < timezone.now() - GRACE:
        yield f"has ended, and its task {task} goes on"
    is_unsafe = BLOCKS.get(node.block_id).effect is Effect.UNSAFE
    if is_unsafe and task.claims > 1 and task.ended_at is not None and not task.is_lost:
        yield f"task {task} must not be repeated, and {task.claims} hosts took it"


def _outcome(rows: Rows, node: NodeExecution, task: NodeTask, parts: list[NodeTaskPart]) -> Iterator[str]:
    wait = node.waits[task.turn]
    if wait.get("task") != str(task.pk):
        yield f"{node} took the answer of {wait}, not of {task.pk}"
    elif task.ended_at is None or task.error or task.suspension is not None or task.is_lost:
        yield f"{node} is COMPLETED, and its task {task} did not end so"
    else:
        told = [tuple(pair) for part in parts for pair in json.decode(bytes(part.outputs).decode())]
        given = rows.outputs.get(node.pk, [])[wait["outputs"] :]
        if [output.pin for output in given] != [pin for pin, _ in told] or any(
            output.value != value for output, (_, value) in zip(given, told, strict=True) if not output.blob
        ):
            yield f"{node} gave {[(one.pin, one.value) for one in given]}, its task {told}"
