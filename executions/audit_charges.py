"""Proving what runs were charged: for each finished node its price, once, and for each hundred activations the fee."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from core import json
from credits.kinds import MOST, Kind
from credits.models import Hold, Transfer
from credits.price_lists import Entry
from executions import blobs, prices
from executions.kinds import NodeStatus
from executions.models import GraphExecution, NodeExecution, Review
from executions.prices import ACTIVATIONS_PER_FEE, FEE, Prices
from executions.reading import rows_of
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock

# So many rows are looked at together.
_AT_ONCE = 1000

# Of runs with a hundred activations, or with fees. Those that a run took over count, and were paid for before.
_FEES = """
WITH paid AS (
    SELECT DISTINCT run_id AS id FROM credits_transfer
    WHERE kind = 'USAGE' AND run_id IS NOT NULL AND NOT metadata ? 'node_exec_id' AND at >= %s
), looked_at AS (
    SELECT id FROM paid UNION SELECT id FROM executions_graphexecution
    WHERE price_version IS NOT NULL AND node_count >= %s AND (ended_at IS NULL OR ended_at >= %s)
)
SELECT r.id, nodes.taken_over, nodes.ended, fees.paid
FROM executions_graphexecution r JOIN looked_at ON looked_at.id = r.id,
LATERAL (
    SELECT count(*) FILTER (WHERE n.started_fence = 0) AS taken_over, count(*) AS ended
    FROM executions_nodeexecution n WHERE n.run_id = r.id AND n.status IN ('COMPLETED', 'FAILED')
) AS nodes,
LATERAL (
    SELECT COALESCE(jsonb_object_agg(t.key, t.amount), '{}') AS paid FROM credits_transfer t
    WHERE t.run_id = r.id AND t.kind = 'USAGE' AND NOT t.metadata ? 'node_exec_id'
) AS fees
"""


@dataclass(frozen=True, slots=True)
class _Due:
    """What a node is to be charged: under which key, and the least and the most that the rows allow."""

    key: str
    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


class ChargeAudit:
    """Compares charges with nodes, of what was charged or ended `since` then; counts the nodes that have a price."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._prices: dict[int, Prices] = {}
        self.billable_nodes = 0

    def problems(self) -> Iterator[str]:
        """Every mismatch as a sentence."""
        yield from self._undue()
        yield from self._missing()
        yield from self._wrong_fees()

    def _undue(self) -> Iterator[str]:
        """Charges without a node that ended well, or other than its price."""
        charges = Transfer.objects.filter(kind=Kind.USAGE, metadata__has_key="node_exec_id", at__gte=self._since)
        rows = charges.values_list("key", "amount", "run_id", "metadata__node_exec_id", "metadata__quantity")
        for some in _portions(rows.iterator(chunk_size=_AT_ONCE)):
            # What was used by runs that are gone has no rows any more.
            there = set(GraphExecution.objects.filter(pk__in={row[2] for row in some}).values_list("pk", flat=True))
            nodes = NodeExecution.objects.select_related("run").in_bulk([UUID(row[3]) for row in some])
            free = _allowed_less(node.run for node in nodes.values())
            for key, amount, run_id, node_id, quantity in some:
                if run_id not in there:
                    continue
                node = nodes.get(UUID(node_id))
                if node is None or node.run_id != run_id or node.status != NodeStatus.COMPLETED:
                    yield f"{key} was charged, and no such node is COMPLETED"
                    continue
                due = self._due(node, quantity, may_be_less=node.run_id in free)
                if due is None or due.key != key:
                    pays = "is free" if due is None else f"pays for {due.key}"
                    yield f"{key} was charged {amount}, and its node {pays}"
                elif not due.least <= amount <= due.most:
                    yield f"{key} costs {due}, and was charged {amount}"

    def _missing(self) -> Iterator[str]:
        """Nodes that ended well, have a price, and were not charged."""
        nodes = NodeExecution.objects.filter(
            run__price_version__isnull=False, status=NodeStatus.COMPLETED, ended_at__gte=self._since
        ).select_related("run")
        for some in _portions(nodes.iterator(chunk_size=_AT_ONCE)):
            free = _allowed_less(node.run for node in some)
            found = [self._due(node, None, may_be_less=node.run_id in free) for node in some]
            all_due = [due for due in found if due is not None]
            self.billable_nodes += len(all_due)
            owed = [due for due in all_due if due.least]
            keys = [due.key for due in owed]
            charged = set(Transfer.objects.filter(key__in=keys).values_list("key", flat=True))
            for due in owed:
                if due.key not in charged:
                    yield f"{due.key} costs {due}, and was charged None"

    def _wrong_fees(self) -> Iterator[str]:
        found = rows_of(_FEES, [self._since, ACTIVATIONS_PER_FEE, self._since])
        free = _allowed_less(GraphExecution.objects.filter(pk__in=[run_id for run_id, *_ in found]))
        for run_id, taken_over, ended, fees in found:
            paid = json.decode(fees)
            turns = range(taken_over // ACTIVATIONS_PER_FEE + 1, ended // ACTIVATIONS_PER_FEE + 1)
            due = {f"use:{run_id}:fee:{turn}": FEE for turn in turns}
            if paid != due and not (run_id in free and _is_within(paid, due)):
                told = ", ".join(f"{amount} as {key}" for key, amount in sorted(paid.items())) or None
                yield f"Run {run_id} is to pay {len(due)} × {FEE} for {ended - taken_over} activations, and paid {told}"

    def _due(self, node: NodeExecution, charged_quantity: float | None, *, may_be_less: bool) -> _Due | None:
        """What a node that ended well costs; None if it is free. What it used is told by its row, or by its charge."""
        version = node.run.price_version
        if version is None or not node.started_fence or str(node.node_id) in node.run.nodes_to_skip:
            return None
        book = self._prices.setdefault(version, prices.of(version))
        entries = tuple(_entries(book, node.block_id))
        entry = prices.matching(entries, _input_of(node, entries))
        if entry is None or not entry.amount:
            return None
        least, most = _range_of(entry, node, charged_quantity)
        key = f"use:{node.run_id}:{node.node_id}:{node.ordinal}:{entry.per}"
        return _Due(key, 0 if may_be_less and (entry.per != "run" or _is_over_debt(node.run)) else least, most)


def _input_of(node: NodeExecution, entries: Iterable[Entry]) -> Mapping[str, Any]:
    """What the block was given: as a person left it who permitted it, with large values whole where a filter looks."""
    given: dict[str, Any] = node.input_data
    permissions = [wait["review"] for wait in node.waits if "gate" in wait]
    if permissions and any(entry.match for entry in entries):
        edited = Review.objects.filter(pk__in=permissions, data__isnull=False).values_list("data", flat=True).first()
        if edited is not None:
            return dict(edited)
    wanted = {pin: key for pin, key in (node.input_blobs or {}).items() if any(pin in entry.match for entry in entries)}
    if not wanted:
        return given
    found = blobs.values_of(node.run.user_id, wanted.values())
    return given | {pin: found[key] for pin, key in wanted.items() if key in found}


def _range_of(entry: Entry, node: NodeExecution, charged_quantity: float | None) -> tuple[int, int]:
    """The least and the most that a node may have been charged.

    Rows that are older than `NodeExecution.quantity` do not tell how much was used, unless it was outputs.
    """
    if entry.per == "run":
        return entry.amount, entry.amount
    quantity = node.output_count if entry.per == "item" else node.quantity
    if quantity is None:
        quantity = charged_quantity
    if quantity is not None:
        amount = prices.due(entry, quantity)
        return amount, amount
    match entry.per:
        case "byte":
            return min(node.output_count, 1), MOST
        case "second":
            # Of an attempt that was lost nobody knows how long it took.
            return int(node.attempt == 1 and not node.waits), MOST
        case _:
            return 0, MOST


def _allowed_less(runs: Iterable[GraphExecution]) -> Collection[UUID]:
    """Those of the runs that may be charged less than is due: for a budget, or because the user owes all they can."""
    known = {run.pk: run for run in runs}
    family = {run_id: run.root_id or run_id for run_id, run in known.items()}
    over_debt = {run_id for run_id, run in known.items() if _is_over_debt(run)}
    is_bounded = Q(cap__isnull=False) | Q(key_id__isnull=False)
    bounded = set(Hold.objects.filter(is_bounded, run_id__in=set(family.values())).values_list("run_id", flat=True))
    return over_debt | {run_id for run_id, root_id in family.items() if root_id in bounded}


def _is_over_debt(run: GraphExecution) -> bool:
    # Older workers did not write it down of runs that ended for another reason.
    return run.is_over_debt or run.error_code == "debt_exceeded"


def _is_within(paid: Mapping[str, int], due: Mapping[str, int]) -> bool:
    return all(0 < amount <= due.get(key, 0) for key, amount in paid.items())


def _entries(book: Prices, block_id: str) -> Iterable[Entry]:
    """The prices of a block; of one whose package is gone, what its list has on record."""
    try:
        block = BLOCKS.get(block_id)
    except UnknownBlock:
        return book.recorded(block_id)
    return book.of(block)


def _portions(rows: Iterator[Any]) -> Iterator[Sequence[Any]]:
    """The same, some at a time."""
    some: list[Any] = []
    for row in rows:
        some.append(row)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some
