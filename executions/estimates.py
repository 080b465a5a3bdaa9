"""What a run of a graph is likely to cost, before it is started.

Two sources, and each figure says which: what finished runs of the same version used at the prices of now, or, as long
as those are few, the drawing alone, in which each node is taken to run once.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.conf import settings

from credits import price_lists
from credits.kinds import CREDIT
from executions import funding, prices
from executions.kinds import Status
from executions.models import GraphExecution
from executions.new_runs import NODE_BUDGET
from executions.prices import ACTIVATIONS_PER_FEE, FEE, Prices
from executions.reading import rows_of
from executions.services import MAX_DEPTH
from executions.worst_case import Budget, Most, Unknown, WorstCase, most_in_all
from graphs.blocks.base import Kind as BlockKind
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition, NodeDefinition
from graphs.errors import GraphNotFound
from graphs.pins import base_name
from graphs.services import load_definition

# History counts from so many runs on, and looks at so many.
FEWEST_RUNS = 5
MOST_RUNS = 50
# The pins that say which graph is called, and what its nodes are given.
_CHOICES = {"graph_id", "graph_version", "nodes_input_masks"}

GraphKey = tuple[UUID, int]

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


def estimate_run(
    graph: GraphDefinition,
    *,
    node_budget: int = NODE_BUDGET,
    output_budget: int | None = None,
    max_credits: int | None = None,
    calls: "_Calls | None" = None,
) -> RunEstimate:
    """What a run of the graph that starts now, with these budgets, is likely to cost. Nothing while credits are off.

    `calls` are those on the way to this graph, if another calls it.
    """
    if not funding.is_metered(is_dry_run=False):
        free = Estimate(Source.FREE, 0, 0, 0)
        return RunEstimate(False, price_lists.NO_LIST, free, [NodeEstimate(n, free, None, 0) for n in graph.nodes], 0)
    version = price_lists.newest()
    known = prices.of(version)
    used = _History.of(graph, version)
    budget = Budget(node_budget, settings.OUTPUTS_PER_RUN if output_budget is None else output_budget)
    drawn = _Drawing(graph, known, budget, calls or _Calls(graph.owner_id))
    nodes = [drawn.node(node) for node in graph.nodes]
    if used.is_enough:
        nodes = [_with_history(each, used) for each in nodes]
    worst = drawn.worst()
    unknown = tuple(dict.fromkeys(reason for each in nodes for reason in each.estimate.unknown))
    if max_credits is not None and (worst is None or worst > max_credits * CREDIT):
        worst, unknown = max_credits * CREDIT, ()
    if used.is_enough:
        p50, p90, source = *_quantiles(used.totals), Source.HISTORY
    else:
        fee = len(graph.nodes) // ACTIVATIONS_PER_FEE * FEE
        p50, p90 = (fee + sum(each.estimate.p50 for each in nodes), fee + sum(each.estimate.p90 for each in nodes))
        is_free = all(each.estimate.source is Source.FREE for each in nodes) and not fee
        source = Source.FREE if is_free else Source.LIMITS
    return RunEstimate(True, version, _limited(source, p50, p90, worst, unknown), nodes, used.runs)


class _Calls:
    """The graphs that are being estimated, each called by the one before, and what is known of others already."""

    def __init__(self, owner_id: UUID) -> None:
        self._owner_id = owner_id
        self._open: list[GraphKey] = []
        self._known: dict[GraphKey, Estimate] = {}

    def estimate(self, caller: GraphKey, constants: Mapping[str, Any]) -> Estimate:
        """What the graph that a node with these constants calls is likely to cost, if that can be told."""
        unknown = Estimate(Source.LIMITS, 0, 0, None, (Unknown.CALLS,))
        try:
            key = UUID(str(constants["graph_id"])), int(constants["graph_version"])
            if key in self._known:
                return self._known[key]
            graph = load_definition(*key)
        except (KeyError, ValueError, TypeError, GraphNotFound):
            return unknown
        if key in (caller, *self._open) or graph.owner_id != self._owner_id or len(self._open) >= MAX_DEPTH:
            return unknown
        self._open.append(caller)
        self._known[key] = estimate_run(graph, calls=self).whole
        self._open.pop()
        return self._known[key]


class _Drawing:
    """What the drawing alone tells."""

    def __init__(self, graph: GraphDefinition, known: Prices, budget: Budget, calls: _Calls) -> None:
        self._key = (graph.id, graph.version)
        self._calls = calls
        self._known = known
        self._budget = budget
        self._worst_case = WorstCase(graph, budget)
        self._most: list[Most] = []
        self._linked: dict[UUID, set[str]] = defaultdict(set)
        for link in graph.links:
            self._linked[link.sink_id].add(link.sink_name)

    def node(self, node: NodeDefinition) -> NodeEstimate:
        """A node, taken to run once. What is measured counts with one unit: that is the least that is known."""
        block = BLOCKS.get(node.block_id)
        if block.kind is BlockKind.AGENT:
            called = self._called(node)
            most = self._worst_case.of_call(node, called.worst)
            return NodeEstimate(node, self._estimate(called.source, called.p50, called.p90, most), None, 0)
        entries = self._known.of(block)
        most = self._worst_case.of_block(node, entries)
        entry = prices.likely(entries, node, self._linked[node.id])
        source = Source.LIMITS if any(each.amount for each in entries) else Source.FREE
        if entry is None or not entry.amount:
            return NodeEstimate(node, self._estimate(source, 0, 0, most), None, 0)
        estimate = self._estimate(source, entry.amount, entry.amount, most)
        return NodeEstimate(node, estimate, entry.per, entry.amount)

    def worst(self) -> int | None:
        """What the nodes that were looked at cost together at most, with the fee."""
        return most_in_all(self._most, self._budget)

    def _estimate(self, source: Source, p50: int, p90: int, most: Most) -> Estimate:
        self._most.append(most)
        return _limited(source, p50, p90, most.worst(self._budget), (most.unknown,) if most.unknown else ())

    def _called(self, node: NodeDefinition) -> Estimate:
        whole = self._calls.estimate(self._key, node.input_default)
        # Which graph it is, or what its own nodes call, may then be another one.
        if node.input_default.get("nodes_input_masks") or _CHOICES & set(map(base_name, self._linked[node.id])):
            return Estimate(whole.source, whole.p50, whole.p90, None, (Unknown.CALLS,))
        return whole


def _limited(source: Source, p50: int, p90: int, worst: int | None, unknown: tuple[Unknown, ...]) -> Estimate:
    """An estimate of which nothing is more than the worst."""
    most = max(p50, p90) if worst is None else worst
    return Estimate(source, min(p50, most), min(p90, most), worst, unknown)


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
        """That of the newest completed runs that nothing called or took results over for, at most `MOST_RUNS`."""
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
    # What is called has a history of its own.
    if each.estimate.source is Source.FREE or BLOCKS.get(each.node.block_id).kind is BlockKind.AGENT:
        return each
    p50, p90 = _quantiles(used.nodes[each.node.id])
    told = _limited(Source.HISTORY, p50, p90, each.estimate.worst, each.estimate.unknown)
    return NodeEstimate(each.node, told, each.per, each.amount)


def _quantiles(amounts: Sequence[int]) -> tuple[int, int]:
    """The amounts that half, and nine tenths, of all do not exceed."""
    ordered = sorted(amounts)
    return tuple(ordered[math.ceil(len(ordered) * share) - 1] for share in (0.5, 0.9))  # type: ignore[return-value]
