"""What a run asks of others: runs of other graphs, and people."""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from executions.kinds import FINAL
from executions.models import GraphExecution, Review
from tests.invariants.rows import Rows


def children(rows: Rows) -> Iterator[str]:
    """I10: one child for each call, and none that outlives its parent."""
    run = rows.run
    own = {child.pk: child for child in GraphExecution.objects.filter(parent=run.pk)}
    called = Counter(UUID(wait["child"]) for node in rows.nodes for wait in node.waits if "child" in wait)
    known = set(own)
    if run.source_run_id is not None:
        known |= set(GraphExecution.objects.filter(pk__in=called, status="COMPLETED").values_list("pk", flat=True))
    if any(count > 1 for count in called.values()) or called.keys() - known:
        yield f"calls {sorted(map(str, called))} and has children {sorted(map(str, own))}"
    if rows.is_completed and own.keys() - called.keys():
        yield f"has {len(own.keys() - called.keys())} children that no activation called"
    for child in own.values():
        if run.status in FINAL and child.status not in FINAL:
            yield f"has ended, its child {child} has not"


def reviews(rows: Rows) -> Iterator[str]:
    """Each question to a person is a row of its own, and a completed run has no open one."""
    asked = Counter(UUID(wait["review"]) for node in rows.nodes for wait in node.waits if "review" in wait)
    decided = dict(Review.objects.filter(pk__in=asked).values_list("pk", "decided_at"))
    if any(count > 1 for count in asked.values()) or asked.keys() - decided.keys():
        yield f"asks for reviews {sorted(map(str, asked))} and has {sorted(map(str, decided))}"
    if rows.is_completed and None in decided.values():
        yield "is COMPLETED and waits for a decision"
