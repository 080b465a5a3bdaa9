"""Questions to people: asked by the engine, decided by whoever owns the run.

A decision and the news of it are one transaction that locks the run first, as stopping it does.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from core import json
from core.ids import uuid7
from executions import previews, queue
from executions.errors import (
    DecidedOtherwise,
    DecisionInvalid,
    EditedForRest,
    NoSuchReview,
    NoSuchRun,
    NotEditable,
    NotWaiting,
    SeveralRuns,
)
from executions.failpoints import failpoint
from executions.kinds import ReviewStatus
from executions.models import GraphExecution, Review
from executions.reading import BUDGET, Wire, rows_of, time_text
from graphs.blocks.base import AskForReview, Decision

MAX_MESSAGE = 2000
MAX_DATA_BYTES = 1024 * 1024
MAX_DATA_DEPTH = 10
MAX_LISTED = 1000
APPROVED_BEFORE = "Approved by an earlier decision for the rest of the run."

_ASK = """
INSERT INTO executions_review (
    id, run_id, root_id, node_execution_id, turn, user_id, graph_id, graph_version, node_id, payload, instructions,
    editable, status, message, decided_at)
SELECT %(id)s, run.id, COALESCE(run.root_id, run.id), %(node_execution)s, %(turn)s, %(user)s, %(graph)s,
    %(graph_version)s, %(node)s, %(payload)s, %(instructions)s, %(editable)s,
    CASE WHEN earlier.is_there THEN 'APPROVED' ELSE 'WAITING' END,
    CASE WHEN earlier.is_there THEN %(approved_before)s ELSE '' END,
    CASE WHEN earlier.is_there THEN now() END
FROM executions_graphexecution run, LATERAL (
    SELECT EXISTS (
        SELECT FROM executions_review
        WHERE approves_rest AND root_id = COALESCE(run.root_id, run.id) AND node_id = %(node)s
    ) AS is_there
) earlier
WHERE run.id = %(run)s
ON CONFLICT (node_execution_id, turn) DO NOTHING
"""


_PAYLOADS = f"""
WITH page AS (
    SELECT id, payload, place FROM executions_review JOIN unnest(%s::uuid[]) WITH ORDINALITY AS p(id, place) USING (id)
), measured AS (
    SELECT *, sum(octet_length(payload::text)) OVER (ORDER BY place) <= {BUDGET}
        OR octet_length(payload::text) <= {2 * previews.EDGE} AS fits FROM page
)
SELECT id, {previews.cut_in_sql("payload", "fits")}, NOT fits FROM measured
"""  # noqa: S608  all parts are constants


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody decided about the newest question of an activation, or about the one that `review_id` names.

    `data` is None where it was left as it is. With `approves_rest` an approval holds for every later question of the
    same node in this run and in those it belongs with; a rejection never does.
    """

    node_execution_id: UUID
    approved: bool
    message: str = ""
    data: Any = None
    approves_rest: bool = False
    review_id: UUID | None = None

    @property
    def status(self) -> ReviewStatus:
        """What becomes of the review."""
        return ReviewStatus.APPROVED if self.approved else ReviewStatus.REJECTED


@dataclass(frozen=True, slots=True)
class DecideResult:
    """How many reviews of a request stand approved and rejected by now."""

    approved_count: int
    rejected_count: int


# --- For the engine ---------------------------------------------------------------------------------------------


def ask_review(
    *,
    run_id: UUID,
    user_id: UUID,
    graph_id: UUID,
    graph_version: int,
    node_id: UUID,
    node_execution_id: UUID,
    turn: int,
    ask: AskForReview,
) -> UUID:
    """Write down a question of an activation and return its id; asked again for the same turn, it is the same.

    It counts as approved at once when the owner has approved this node for the rest of the run. Raises `NotStorable`
    when the data cannot be stored, `NoSuchRun` when the run is gone.
    """
    arguments: dict[str, Any] = {
        "id": uuid7(),
        "run": run_id,
        "node_execution": node_execution_id,
        "turn": turn,
        "user": user_id,
        "graph": graph_id,
        "graph_version": graph_version,
        "node": node_id,
        "payload": json.encode(ask.data).decode(),
        "instructions": ask.instructions,
        "editable": ask.editable,
        "approved_before": APPROVED_BEFORE,
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_ASK, arguments)
    except IntegrityError:
        raise NoSuchRun(run_id=str(run_id)) from None
    failpoint("review.after_ask")
    asked = Review.objects.filter(node_execution=node_execution_id, turn=turn).values_list("pk", flat=True).first()
    if asked is None:
        raise NoSuchRun(run_id=str(run_id))
    return asked


def decided(review_ids: Collection[UUID]) -> dict[UUID, Decision]:
    """The decisions there are about these reviews. One that was closed because its run ended has none."""
    reviews = Review.objects.filter(pk__in=review_ids, decided_at__isnull=False).defer("instructions")
    return {review.pk: _decision(review) for review in reviews}


def _decision(review: Review) -> Decision:
    return Decision(
        approved=review.status == ReviewStatus.APPROVED,
        data=review.payload if review.data is None else review.data,
        message=review.message,
    )


# --- For people -------------------------------------------------------------------------------------------------


def listed(reviews: Iterable[Review]) -> list[Wire]:
    """Reviews, read without their payloads, as the contract's PendingHumanReview; payloads are whole up to a budget."""
    page = list(reviews)
    payloads = {row[0]: row[1:] for row in rows_of(_PAYLOADS, [[review.pk for review in page]])} if page else {}
    return [_listed(review, *payloads[review.pk]) for review in page if review.pk in payloads]


def _listed(review: Review, payload: str, truncated: bool) -> Wire:
    is_decided = review.decided_at is not None
    decided_at = time_text(review.decided_at)
    return {
        "review_id": str(review.pk),
        "node_exec_id": str(review.node_execution_id),
        "node_id": str(review.node_id),
        "user_id": str(review.user_id),
        "graph_exec_id": str(review.run_id),
        "graph_id": str(review.graph_id),
        "graph_version": review.graph_version,
        "payload": json.decode(payload),
        "instructions": review.instructions,
        "editable": review.editable,
        "status": review.status,
        "review_message": review.message or None,
        "was_edited": review.data is not None if is_decided else None,
        "processed": is_decided,
        "created_at": time_text(review.created_at),
        "updated_at": decided_at,
        "reviewed_at": decided_at,
        "truncated": truncated,
    }


def decide(user_id: UUID, verdicts: Sequence[Verdict]) -> DecideResult:
    """Decide reviews of one of the user's runs, all or none of them, and let the run go on.

    Deciding the same again changes nothing. The run goes on as soon as one of its reviews is decided, and waits again
    for the others when nothing else is left to do.

    Raises `DecisionInvalid`, `NoSuchReview`, `SeveralRuns`, `NotWaiting`, `DecidedOtherwise`, `NotEditable` or
    `EditedForRest`, and then nothing is decided.
    """
    _check(verdicts)
    with transaction.atomic():
        run = _locked_run(user_id, verdicts)
        fresh = [pair for pair in _pairs(run, verdicts) if not _is_repeated(*pair)]
        waiting = set(Review.objects.waiting().filter(run=run).values_list("pk", flat=True)) if fresh else set()
        for review, verdict in fresh:
            if review.pk not in waiting:
                raise NotWaiting(node_exec_id=str(review.node_execution_id))
            _decide(review, verdict)
        if fresh:
            GraphExecution.objects.filter(pk=run.pk).wake()
            queue.ring([run.pk])
    approved = sum(verdict.approved for verdict in verdicts)
    return DecideResult(approved, len(verdicts) - approved)


def _check(verdicts: Sequence[Verdict]) -> None:
    """Raises `DecisionInvalid` for what no review would admit."""
    ids = [verdict.node_execution_id for verdict in verdicts]
    if not ids:
        raise DecisionInvalid("There is no decision in the request")
    [(most, times)] = Counter(ids).most_common(1)
    if times > 1:
        raise DecisionInvalid("The same node_exec_id is decided twice", node_exec_id=str(most))
    for verdict in verdicts:
        about = {"node_exec_id": str(verdict.node_execution_id)}
        if len(verdict.message) > MAX_MESSAGE:
            raise DecisionInvalid(f"A message has at most {MAX_MESSAGE} characters", **about)
        if _is_deeper(verdict.data, MAX_DATA_DEPTH):
            raise DecisionInvalid(f"Reviewed data is nested at most {MAX_DATA_DEPTH} levels deep", **about)
        if len(json.encode(verdict.data)) > MAX_DATA_BYTES:
            raise DecisionInvalid("Reviewed data has at most 1 MB", **about)


def _locked_run(user_id: UUID, verdicts: Sequence[Verdict]) -> GraphExecution:
    """The one run that all of it is about, locked."""
    ids = [verdict.node_execution_id for verdict in verdicts]
    mine = Review.objects.filter(user=user_id, run__is_deleted=False, node_execution__in=ids)
    run_of = dict(mine.values_list("node_execution", "run"))
    missing = [each for each in ids if each not in run_of]
    if missing:
        raise NoSuchReview(node_exec_id=str(missing[0]))
    if len(set(run_of.values())) > 1:
        raise SeveralRuns(graph_exec_ids=sorted(map(str, set(run_of.values()))))
    return GraphExecution.objects.locked().get(pk=run_of[ids[0]])


def _pairs(run: GraphExecution, verdicts: Sequence[Verdict]) -> list[tuple[Review, Verdict]]:
    """Each verdict with the review it is about, read under the lock."""
    ids = [verdict.node_execution_id for verdict in verdicts]
    reviews = list(Review.objects.filter(run=run, node_execution__in=ids).order_by("turn"))
    newest = {review.node_execution_id: review for review in reviews}
    named = {(review.node_execution_id, review.pk): review for review in reviews}
    pairs = []
    for verdict in verdicts:
        key = verdict.node_execution_id
        review = newest[key] if verdict.review_id is None else named.get((key, verdict.review_id))
        if review is None:
            raise NoSuchReview(node_exec_id=str(key), review_id=str(verdict.review_id))
        pairs.append((review, verdict))
    return pairs


def _is_repeated(review: Review, verdict: Verdict) -> bool:
    """Whether the review was decided just so before; what the verdict leaves out is not compared."""
    if review.status == ReviewStatus.WAITING:
        return False
    if review.decided_at is None:
        raise NotWaiting(node_exec_id=str(review.node_execution_id))
    before = _decision(review)
    is_same = (
        review.status == verdict.status
        and verdict.message in ("", before.message)
        and (verdict.data is None or _is_same(verdict.data, before.data))
        and (not verdict.approves_rest or review.approves_rest or not verdict.approved)
    )
    if not is_same:
        raise DecidedOtherwise(node_exec_id=str(review.node_execution_id), status=review.status)
    return True


def _decide(review: Review, verdict: Verdict) -> None:
    about = {"node_exec_id": str(review.node_execution_id)}
    is_edited = verdict.data is not None and not _is_same(verdict.data, review.payload)
    if is_edited and not review.editable:
        raise NotEditable(**about)
    review.approves_rest = verdict.approved and verdict.approves_rest
    if is_edited and review.approves_rest:
        raise EditedForRest(**about)
    review.status = verdict.status
    review.message = verdict.message
    review.data = verdict.data if is_edited else None
    review.decided_at = Now()
    review.save(update_fields=["status", "message", "data", "approves_rest", "decided_at"])


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; 1 is 1.0, as in JSON, but not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than so many levels."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inside is None:
        return False
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inside)
