"""What a run of a graph is likely to cost, before it is started.

Two sources, and each figure says which: what finished runs of the same version used at the prices of now, or, as long
as those are few, the drawing alone, in which each node is taken to run once.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from credits import price_lists
from credits.kinds import CREDIT
from credits.price_lists import Entry
from executions import funding, prices
from executions.kinds import Status
from executions.models import GraphExecution
from executions.prices import ACTIVATIONS_PER_FEE, FEE, Prices
from executions.reading import rows_of
from graphs.blocks.base import Kind as BlockKind
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition, NodeDefinition

# History counts from so many runs on, and looks at so many.
FEWEST_RUNS = 5
MOST_RUNS = 50

# What each run used with all that it called, and of that its own nodes.
_SPENT = """
SELECT COALESCE(r.root_id, r.id), CASE WHEN r.id = ANY(%(runs)s) THEN t.metadata->>'node_id' END, sum(t.amount)::bigint
FROM executions_graphexecution r JOIN credits_transfer t ON t.run_id = r.id AND t.kind = 'USAGE'
WHERE r.id = ANY(%(runs)s) OR r.root_id = ANY(%(runs)s)
GROUP BY 1, 2
"""


class Source(StrEnum):
    """Where an estimate comes from."""

    FREE = "free"
    LIMITS = "limits"
    HISTORY = "history"


class Unknown(StrEnum):
    """Why nobody can say what something costs at most."""

    LOOP = "loop"
    VALUES = "values"
    MEASURED = "measured"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Micro-credits: half of the runs cost at most `p50`, nine in ten at most `p90`, and all at most `worst`.

    Without a `worst` nobody can say; then `unknown` says why not.
    """

    source: Source
    p50: int
    p90: int
    worst: int | None
    unknown: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeEstimate:
    """What one node is likely to cost. `per` and `amount` are the price that is likely to count, if it has one."""

    node: NodeDefinition
    estimate: Estimate
    per: str | None
    amount: int


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What a run is likely to cost, with all that it calls and the fee; `runs` were looked at."""

    is_metered: bool
    price_version: int
    whole: Estimate
    nodes: Sequence[NodeEstimate]
    runs: int


def estimate_run(graph: GraphDefinition, *, node_budget: int, max_credits: int | None = None) -> RunEstimate:
    """What a run of the graph that starts now, with these budgets, is likely to cost. Nothing while credits are off."""
    if not funding.is_metered(is_dry_run=False):
        free = Estimate(Source.FREE, 0, 0, 0)
        return RunEstimate(False, price_lists.NO_LIST, free, [NodeEstimate(n, free, None, 0) for n in graph.nodes], 0)
    version = price_lists.newest()
    known = prices.of(version)
    used = _History.of(graph, version)
    drawn = _Drawing(graph, known)
    nodes = [drawn.node(node) for node in graph.nodes]
    if used.is_enough:
        nodes = [_with_history(each, used) for each in nodes]
    worst, unknown = drawn.worst(nodes, node_budget)
    if max_credits is not None and (worst is None or worst > max_credits * CREDIT):
        worst, unknown = max_credits * CREDIT, ()
    if used.is_enough:
        p50, p90, source = *_quantiles(used.totals), Source.HISTORY
    else:
        fee = len(graph.nodes) // ACTIVATIONS_PER_FEE * FEE
        p50, p90 = (fee + sum(each.estimate.p50 for each in nodes), fee + sum(each.estimate.p90 for each in nodes))
        is_free = all(each.estimate.source is Source.FREE for each in nodes) and not fee and not drawn.calls
        source = Source.FREE if is_free else Source.LIMITS
    if worst is not None:
        p50, p90 = min(p50, worst), min(p90, worst)
    return RunEstimate(True, version, Estimate(source, p50, p90, worst, unknown), nodes, used.runs)


class _Drawing:
    """What the drawing alone tells."""

    def __init__(self, graph: GraphDefinition, known: Prices) -> None:
        self._nodes = {node.id: node for node in graph.nodes}
        self._known = known
        self._linked: dict[UUID, set[str]] = defaultdict(set)
        self._before: dict[UUID, list[UUID]] = defaultdict(list)
        for link in graph.links:
            self._linked[link.sink_id].add(link.sink_name)
            self._before[link.sink_id].append(link.source_id)
        self._loops = self._find_loops()
        self.calls = funding.calls_others(graph)

    def node(self, node: NodeDefinition) -> NodeEstimate:
        """A node, taken to run once. What is measured counts with one unit: that is the least that is known."""
        block = BLOCKS.get(node.block_id)
        entries = self._known.of(block)
        entry = prices.likely(entries, node.input_default, self._linked[node.id])
        unknown = self._unknown(node, entries)
        if entry is None or not entry.amount:
            is_free = not any(each.amount for each in entries)
            free = Estimate(Source.FREE, 0, 0, 0) if is_free else Estimate(Source.LIMITS, 0, 0, None, unknown)
            return NodeEstimate(node, free, None, 0)
        # Of several prices that may count, the dearest is the worst.
        dearest = max(each.amount for each in entries)
        worst = None if unknown else dearest
        return NodeEstimate(
            node, Estimate(Source.LIMITS, entry.amount, entry.amount, worst, unknown), entry.per, entry.amount
        )

    def worst(self, nodes: Iterable[NodeEstimate], node_budget: int) -> tuple[int | None, tuple[Unknown, ...]]:
        """What a run costs at most: the sum of its nodes where each has a limit, else as much as its budget allows."""
        if self.calls:
            return None, (Unknown.CALLS,)
        measured = any(each.per != "run" for node in self._nodes.values() for each in self._priced(node))
        if measured:
            return None, (Unknown.MEASURED,)
        estimates = [each.estimate for each in nodes]
        dearest = max((each.amount for node in self._nodes.values() for each in self._priced(node)), default=0)
        by_budget = node_budget * dearest + node_budget // ACTIVATIONS_PER_FEE * FEE
        if all(self._runs_once(node) for node in self._nodes.values()):
            fee = len(self._nodes) // ACTIVATIONS_PER_FEE * FEE
            return min(by_budget, fee + sum(each.worst or 0 for each in estimates)), ()
        return by_budget, ()

    def _priced(self, node: NodeDefinition) -> list[Entry]:
        return [entry for entry in self._known.of(BLOCKS.get(node.block_id)) if entry.amount]

    def _unknown(self, node: NodeDefinition, entries: Iterable[Entry]) -> tuple[Unknown, ...]:
        reasons = []
        if any(entry.per != "run" for entry in entries if entry.amount):
            reasons.append(Unknown.MEASURED)
        if node.id in self._loops:
            reasons.append(Unknown.LOOP)
        elif not self._runs_once(node):
            reasons.append(Unknown.VALUES)
        return tuple(reasons)

    def _runs_once(self, node: NodeDefinition) -> bool:
        """Whether a node gets each value once: constants, and inputs of the graph. Other blocks may give several."""
        sources = self._before[node.id]
        pins = self._linked[node.id]
        return len(sources) == len(pins) and all(
            BLOCKS.get(self._nodes[source].block_id).kind is BlockKind.INPUT and not self._before[source]
            for source in sources
        )

    def _find_loops(self) -> set[UUID]:
        """The nodes that are in a loop, or behind one: those that have always something before them."""
        behind: dict[UUID, list[UUID]] = defaultdict(list)
        waiting = {node_id: len(self._before[node_id]) for node_id in self._nodes}
        for sink, sources in self._before.items():
            for source in sources:
                behind[source].append(sink)
        ready = [node_id for node_id, count in waiting.items() if not count]
        while ready:
            node_id = ready.pop()
            del waiting[node_id]
            for sink in behind[node_id]:
                waiting[sink] -= 1
                if not waiting[sink]:
                    ready.append(sink)
        return set(waiting)


@dataclass(frozen=True, slots=True)
class _History:
    """What the newest finished runs of a graph's version used at the prices of now: in all, and each node."""

    runs: int
    totals: Sequence[int]
    nodes: Mapping[UUID, Sequence[int]]

    @property
    def is_enough(self) -> bool:
        """Whether there are enough runs to tell from them."""
        return self.runs >= FEWEST_RUNS

    @classmethod
    def of(cls, graph: GraphDefinition, price_version: int) -> "_History":
        """Read it."""
        finished = GraphExecution.objects.filter(
            user=graph.owner_id,
            graph=graph.id,
            graph_version=graph.version,
            is_deleted=False,
            status=Status.COMPLETED,
            price_version=price_version,
            parent=None,
            # One that took results over from another did not pay for all.
            source_run_id=None,
        )
        runs = list(finished.order_by("-created_at", "-pk").values_list("pk", flat=True)[:MOST_RUNS])
        totals = dict.fromkeys(runs, 0)
        nodes: dict[str, dict[UUID, int]] = defaultdict(lambda: dict.fromkeys(runs, 0))
        for run_id, node_id, spent in rows_of(_SPENT, {"runs": runs}):
            totals[run_id] += spent
            if node_id is not None:
                nodes[node_id][run_id] += spent
        never = [0] * len(runs)
        return cls(
            len(runs),
            list(totals.values()),
            {node.id: list(nodes[str(node.id)].values()) if str(node.id) in nodes else never for node in graph.nodes},
        )


def _with_history(each: NodeEstimate, used: _History) -> NodeEstimate:
    if each.estimate.source is Source.FREE:
        return each
    p50, p90 = _quantiles(used.nodes[each.node.id])
    told = Estimate(Source.HISTORY, p50, p90, each.estimate.worst, each.estimate.unknown)
    return NodeEstimate(each.node, told, each.per, each.amount)


def _quantiles(amounts: Sequence[int]) -> tuple[int, int]:
    """The amounts that half, and nine tenths, of all do not exceed."""
    ordered = sorted(amounts)
    return tuple(ordered[math.ceil(len(ordered) * share) - 1] for share in (0.5, 0.9))  # type: ignore[return-value]
