"""Runs that go on from one that has ended: a new run takes over what succeeded and runs the rest.

The run that has ended is only read: it stays as it is. The new one begins with copies of activations and outputs, each
with its event, and with the values that wait on pins; from there the engine takes it up like any run that was parked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from accounts.keys import has_budget
from core import json
from core.after_commit import send
from core.ids import uuid7
from credits import holds
from credits.balances import balance_of
from credits.errors import InsufficientCredits
from executions import events, funding, queue
from executions.checks import RunChecks
from executions.encoding import encode
from executions.engine.plan import Plan, compile_plan
from executions.engine.takeover import (
    Past,
    PastOutput,
    PastToken,
    Remains,
    Takeover,
    shared_pins,
    split_sources,
    take_over_for_replay,
    take_over_for_retry,
)
from executions.errors import NoSuchNode, NoSuchRun, NothingToRetry, NotRunnable, RunUnderWay
from executions.kinds import FINAL, EventKind, NodeStatus, ReviewStatus, Status
from executions.models import GraphExecution, NodeExecution, Review, Token
from executions.new_runs import NO_CREDITS, has_started, started_by
from executions.reading import rows_of
from graphs import pins
from graphs.blocks.registry import BLOCKS
from graphs.pinouts import NodeLike, input_pins, pinout
from graphs.services import load_definition

_OUTPUTS = """
SELECT o.node_execution_id, o.ordinal, o.pin,
    CASE WHEN n.node_id = ANY(%s) THEN coalesce(convert_from(b.encoded, 'UTF8'), o.value::text)
        WHEN n.node_id = ANY(%s) THEN o.value::text END
FROM executions_nodeexecution n
JOIN executions_nodeoutput o ON o.run_id = n.run_id AND o.node_execution_id = n.id AND o.ordinal < n.handed_on
LEFT JOIN executions_blob b ON b.user_id = %s AND b.hash = o.blob
WHERE n.run_id = %s
"""

_TOLD = """
SELECT node_execution_id, seq, outputs FROM executions_event
WHERE run_id = %s AND node_execution_id IS NOT NULL ORDER BY seq
"""

_INSERT_RUN = """
INSERT INTO executions_graphexecution (
    id, user_id, graph_id, graph_version, source_run_id, source_node_id, trigger_key, request_hash, inputs,
    credential_inputs, nodes_input_masks, nodes_to_skip, is_dry_run, preset_id, node_budget, output_budget,
    max_credits, api_key_id, price_version, deadline_at,
    human_in_the_loop_safe_mode, sensitive_action_safe_mode, fence, head_seq, node_count, node_error_count)
SELECT %(id)s, user_id, graph_id, graph_version, id, %(node)s, %(trigger_key)s, %(request_hash)s, inputs,
    credential_inputs, %(masks)s, %(skipped)s, is_dry_run, preset_id, node_budget + %(ended)s, output_budget,
    max_credits, api_key_id, %(price_version)s::integer,
    clock_timestamp() + (deadline_at - created_at),
    (SELECT g.human_in_the_loop_safe_mode FROM graphs_graph g WHERE g.id = graph_id),
    (SELECT g.sensitive_action_safe_mode FROM graphs_graph g WHERE g.id = graph_id),
    1, 1 + %(ended)s, %(ended)s, %(failed)s
FROM executions_graphexecution WHERE id = %(source)s
-- What the source needs is needed until the new run says that it needs it, too.
FOR KEY SHARE
ON CONFLICT (user_id, trigger_key) WHERE trigger_key IS NOT NULL DO NOTHING
RETURNING id
"""

_COPY = """
WITH taken AS (
    SELECT * FROM jsonb_to_recordset(%(taken)s) AS t(
        old uuid, id uuid, ordinal int, status text, attempt int, output_count int, handed_on int, waits jsonb,
        reopened boolean)
), nodes AS (
    INSERT INTO executions_nodeexecution (
        id, run_id, node_id, block_id, ordinal, status, attempt, started_fence, input_data, input_blobs, output_count,
        handed_on, waits, error, started_at, ended_at)
    SELECT t.id, %(run)s, n.node_id, n.block_id, t.ordinal, t.status, t.attempt, 0, n.input_data, n.input_blobs,
        t.output_count, t.handed_on, t.waits, CASE WHEN t.reopened THEN '' ELSE n.error END,
        CASE WHEN t.reopened THEN clock_timestamp() ELSE n.started_at END,
        CASE WHEN t.reopened THEN NULL ELSE n.ended_at END
    FROM taken t JOIN executions_nodeexecution n ON n.id = t.old
), outputs AS (
    INSERT INTO executions_nodeoutput (run_id, node_execution_id, ordinal, pin, value, blob)
    SELECT %(run)s, t.id, o.ordinal, o.pin, o.value, o.blob
    FROM taken t
    JOIN executions_nodeoutput o ON o.run_id = %(source)s AND o.node_execution_id = t.old
        AND o.ordinal < t.output_count
), uses AS (
    INSERT INTO executions_blobuse (run_id, hash, user_id)
    SELECT %(run)s, hash, user_id FROM executions_blobuse WHERE run_id = %(source)s
), tokens AS (
    INSERT INTO executions_token (run_id, source_id, ordinal, link_id, position)
    SELECT %(run)s, t.id, w.ordinal, w.link, w.position
    FROM jsonb_to_recordset(%(tokens)s) AS w(source uuid, ordinal int, link uuid, position bigint)
    JOIN taken t ON t.old = w.source
)
INSERT INTO executions_event (run_id, seq, kind, node_execution_id, outputs)
SELECT %(run)s, 1, %(queued)s, NULL, 0
UNION ALL
SELECT %(run)s, 1 + row_number() OVER (ORDER BY n.ended_at, n.started_at, t.ordinal),
    'node.' || lower(t.status), t.id, t.output_count
FROM taken t JOIN executions_nodeexecution n ON n.id = t.old WHERE NOT t.reopened
"""


def retry_run(
    run_id: UUID, *, trigger_key: str | None = None, request_hash: str = "", ring: bool = True
) -> GraphExecution:
    """Queue a new run that takes over what succeeded in an ended one, and runs again what failed or was under way.

    What consumed the error of a failed node is dropped with all that followed from it. A block that gave outputs
    before it failed does not give them again. Budget, time limit and a node's attempts begin anew; what it uses counts
    in the budget of the API key that the ended one was started with. `trigger_key`, `request_hash` and `ring` are as
    in `start_run`.

    Raises `NoSuchRun`, `RunUnderWay`, `KeyReused`, `InsufficientCredits`, `KeyBudgetUsedUp`, or `NothingToRetry` when
    the run is COMPLETED and no node failed.
    """
    source = _ended_run(run_id)
    if source.status == Status.COMPLETED and not source.node_error_count:
        raise NothingToRetry(run_id=str(run_id))
    plan = compile_plan(load_definition(source.graph_id, source.graph_version), BLOCKS.get)
    takeover = take_over_for_retry(plan, _remains(source, plan))
    columns = {
        "node": None,
        "masks": source.nodes_input_masks,
        "skipped": source.nodes_to_skip,
        "trigger_key": trigger_key,
        "request_hash": request_hash,
    }
    return _queue(source, takeover, columns, ring=ring)


def replay_run(
    run_id: UUID,
    from_node: UUID,
    inputs: Mapping[str, Any] | None = None,
    *,
    trigger_key: str | None = None,
    request_hash: str = "",
    ring: bool = True,
) -> GraphExecution:
    """Queue a new run that runs a node of an ended run again and everything behind it, and takes over all the rest.

    `inputs` (pin → value) win over whatever else the node is given. `trigger_key`, `request_hash` and `ring`
    are as in `start_run`.

    Raises `NoSuchRun`, `RunUnderWay`, `NoSuchNode`, `KeyReused`, `InsufficientCredits`, `KeyBudgetUsedUp`, or
    `NotRunnable` when the graph cannot run with these inputs.
    """
    source = _ended_run(run_id)
    definition = load_definition(source.graph_id, source.graph_version)
    plan = compile_plan(definition, BLOCKS.get)
    if from_node not in plan.nodes:
        raise NoSuchNode(node_id=str(from_node))
    masks: dict[str, Any] = dict(source.nodes_input_masks)
    skipped = source.nodes_to_skip
    if inputs:
        _check_names(next(node for node in definition.nodes if node.id == from_node), inputs)
        masks[str(from_node)] = {**masks.get(str(from_node), {}), **inputs}
        answer = RunChecks(definition, BLOCKS.get).answer(source.inputs, masks)
        if answer.errors:
            raise NotRunnable(answer.errors)
        skipped = sorted(answer.nodes_to_skip)
    takeover = take_over_for_replay(plan, _remains(source, plan), from_node)
    columns = {
        "node": from_node,
        "masks": masks,
        "skipped": skipped,
        "trigger_key": trigger_key,
        "request_hash": request_hash,
    }
    return _queue(source, takeover, columns, ring=ring)


def _check_names(node: NodeLike, inputs: Iterable[str]) -> None:
    """Raises `NotRunnable` for what is no input of the node: it would change nothing, unnoticed."""
    block = BLOCKS.get(node.block_id)
    known = input_pins(node, block) | pinout(block).inputs
    message = f"There is no such input; there are {', '.join(sorted(known))}"
    wrong = {name: message for name in inputs if pins.base_name(name) not in known and not pins.is_tool_pin(name)}
    if wrong:
        raise NotRunnable({str(node.id): wrong})


def _ended_run(run_id: UUID) -> GraphExecution:
    run = GraphExecution.objects.filter(pk=run_id).first()
    if run is None:
        raise NoSuchRun(run_id=str(run_id))
    if run.status not in FINAL:
        raise RunUnderWay(run_id=str(run_id), status=Status(run.status).wire)
    return run


def _remains(source: GraphExecution, plan: Plan) -> Remains:
    columns = ("id", "node_id", "ordinal", "status", "attempt", "output_count", "handed_on", "waits")
    rows = NodeExecution.objects.filter(run=source.pk).values(*columns)
    past = [Past(**{**row, "status": NodeStatus(row["status"])}) for row in rows]
    told: dict[UUID, list[tuple[int, int]]] = defaultdict(list)
    for node_execution_id, seq, outputs in rows_of(_TOLD, [source.pk]):
        told[node_execution_id].append((outputs, seq))
    shared = shared_pins(plan)
    given = NodeExecution.objects.filter(run=source.pk, node_id__in={node_id for node_id, _ in shared})
    valued = [split_sources(plan), list(set().union(*shared.values()))]
    [(now,)] = rows_of("SELECT clock_timestamp()", [])
    return Remains(
        activations=past,
        told=told,
        outputs=[
            PastOutput(source_id, ordinal, pin, None if text is None else json.decode(text))
            for source_id, ordinal, pin, text in rows_of(_OUTPUTS, [*valued, source.user_id, source.pk])
        ],
        inputs=dict(given.values_list("pk", "input_data")),
        tokens=[
            PastToken(*row)
            for row in Token.objects.filter(run=source.pk)
            .order_by("position")
            .values_list("source_id", "ordinal", "link_id")
        ],
        answered=_answered([wait for activation in past for wait in activation.waits]),
        now=now,
    )


def _answered(waits: Iterable[Mapping[str, Any]]) -> set[UUID]:
    """The runs called that COMPLETED, and the reviews that people decided, unless they kept a block from running."""
    called: list[str] = []
    reviews: list[str] = []
    gates: list[str] = []
    for wait in waits:
        if "child" in wait:
            called.append(wait["child"])
        elif "review" in wait:
            (gates if "gate" in wait else reviews).append(wait["review"])
    completed = GraphExecution.objects.filter(pk__in=called, status=Status.COMPLETED)
    decided = Review.objects.filter(
        Q(pk__in=reviews, decided_at__isnull=False) | Q(pk__in=gates, status=ReviewStatus.APPROVED)
    )
    return {*completed.values_list("pk", flat=True), *decided.values_list("pk", flat=True)}


def _queue(source: GraphExecution, takeover: Takeover, columns: Mapping[str, Any], *, ring: bool) -> GraphExecution:
    ended = [past for past in takeover.activations if not past.reopened]
    trigger = columns["trigger_key"], columns["request_hash"]
    try:
        price_version = _price_version(source)
    except InsufficientCredits:
        # What was answered before is answered again.
        if has_started(source.user_id, columns["trigger_key"]):
            return started_by(source.user_id, [trigger])[0]
        raise
    arguments = {
        **columns,
        "id": uuid7(),
        "source": source.pk,
        "masks": encode(columns["masks"]).decode(),
        "skipped": _text(columns["skipped"]),
        "ended": len(ended),
        "failed": sum(past.status is NodeStatus.FAILED for past in ended),
        "price_version": price_version,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        try:
            cursor.execute(_INSERT_RUN, arguments)
        except IntegrityError:
            raise NoSuchRun(run_id=str(source.pk)) from None
        inserted = cursor.fetchone()
        if inserted is None:
            return started_by(source.user_id, [trigger])[0]
        run_id: UUID = inserted[0]
        if arguments["price_version"] is not None:
            caps, keys = {run_id: source.max_credits}, _budgeted(run_id, source.api_key_id)
            wishes = funding.wishes(source.graph_id, source.graph_version, arguments["price_version"], caps, keys)
            if wishes:
                holds.place(source.user_id, wishes)
        cursor.execute(_COPY, {**_rows(takeover), "run": run_id, "source": source.pk, "queued": EventKind.RUN_QUEUED})
        news = events.turn_of(source.user_id, source.graph_id, {run_id: 1 + len(ended)})
        hint = events.hint(source.user_id, news)
        if ring:
            queue.ring([run_id], [hint])
        else:
            send(hints=[hint])
    return GraphExecution.objects.get(pk=run_id)


def _budgeted(run_id: UUID, key_id: UUID | None) -> dict[UUID, UUID]:
    """The API key whose budget the run counts in, if there is one: that of the run before it."""
    return {run_id: key_id} if key_id is not None and has_budget(key_id) else {}


def _price_version(source: GraphExecution) -> int | None:
    """The prices that the new run begins with, or None if it is free; raises `InsufficientCredits`."""
    if not funding.is_metered(is_dry_run=source.is_dry_run):
        return None
    balance = balance_of(source.user_id)
    if balance <= 0:
        raise InsufficientCredits(NO_CREDITS, balance=balance, needed=1)
    return funding.prices_for(source.user_id)


def _rows(takeover: Takeover) -> dict[str, str]:
    """The copies to make: ordinals are counted anew, for where something was dropped there are gaps."""
    turns: dict[UUID, int] = {}
    taken = []
    for past in sorted(takeover.activations, key=lambda past: past.ordinal):
        ordinal = turns.get(past.node_id, 0)
        turns[past.node_id] = ordinal + 1
        taken.append(
            {
                "old": str(past.id),
                "id": str(uuid7()),
                "ordinal": ordinal,
                "status": past.status,
                "attempt": past.attempt,
                "output_count": past.output_count,
                "handed_on": past.handed_on,
                "waits": past.waits,
                "reopened": past.reopened,
            }
        )
    tokens = [
        {"source": str(token.source_id), "ordinal": token.ordinal, "link": str(token.link_id), "position": position}
        for position, token in enumerate(takeover.tokens)
    ]
    return {"taken": _text(taken), "tokens": _text(tokens)}


def _text(value: object) -> str:
    return json.encode(value).decode()
