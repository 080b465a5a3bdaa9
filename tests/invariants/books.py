"""What a run cost."""

from collections import Counter
from collections.abc import Iterator

from credits.kinds import Kind
from credits.models import Hold, Transfer
from executions import prices
from executions.kinds import FINAL, NodeStatus
from graphs.blocks.registry import BLOCKS
from tests.invariants.rows import Rows


def charges(rows: Rows) -> Iterator[str]:
    """I8 and I11: each result that costs something was charged once, nothing else was, and no hold is left."""
    run = rows.run
    charged = Counter(Transfer.objects.filter(run_id=run.pk, kind=Kind.USAGE).values_list("key", flat=True))
    fees = {key for key in charged if ":fee:" in key}
    due: set[str] = set()
    possible: set[str] = set()
    for node in rows.nodes:
        is_own = node.status == NodeStatus.COMPLETED and node.started_fence > 0
        if run.price_version is not None and is_own and str(node.node_id) not in run.nodes_to_skip:
            entries = prices.of(run.price_version).of(BLOCKS.get(node.block_id))
            if (entry := prices.matching(entries, node.input_data)) is not None and entry.amount:
                # Of what is measured there may be none.
                (due if entry.per == "run" else possible).add(f"use:{run.pk}:{node.node_id}:{node.ordinal}:{entry.per}")
    keys = charged.keys() - fees
    if due - keys or keys - due - possible or any(count > 1 for count in charged.values()):
        yield f"was charged {sorted(charged)} for {sorted(due)}"
    for hold in Hold.objects.filter(run_id=run.pk):
        if run.status in FINAL and (hold.released_at is None or hold.amount or hold.pool):
            yield f"has ended and holds {hold.amount + hold.pool} micro-credits"
        if hold.cap is not None and hold.taken > hold.cap:
            yield f"used {hold.taken} of a budget of {hold.cap}"
