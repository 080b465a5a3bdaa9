"""What a run costs at most: from its drawing and its budgets, whatever the values in it are. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from credits.price_lists import Entry
from executions.prices import ACTIVATIONS_PER_FEE, FEE, due
from graphs.blocks.base import Kind
from graphs.blocks.interface import InputBlock
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition, NodeDefinition
from graphs.policy import policy_of


class Unknown(StrEnum):
    """Why nobody can say what something costs at most."""

    MEASURED = "measured"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Budget:
    """How many activations may begin in a run, and how many outputs its nodes may give."""

    nodes: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Most:
    """Micro-credits that a node costs at most: `each` of its `activations`, and besides each `output` of theirs.

    With an `unknown` nobody can say.
    """

    activations: int
    each: int = 0
    output: int = 0
    unknown: Unknown | None = None

    def worst(self, budget: Budget) -> int | None:
        """What the node costs at most in a run with this budget."""
        return None if self.unknown else self.activations * self.each + budget.outputs * self.output


def most_in_all(nodes: Iterable[Most], budget: Budget) -> int | None:
    """What nodes cost together at most, with the fee: the dearest have as much of the budget as they can use."""
    nodes = sorted(nodes, key=lambda most: most.each, reverse=True)
    if any(most.unknown for most in nodes):
        return None
    total, left = 0, budget.nodes
    for most in nodes:
        turns = min(left, most.activations)
        total += turns * most.each
        left -= turns
    outputs = budget.outputs * max((most.output for most in nodes), default=0)
    return total + outputs + (budget.nodes - left) // ACTIVATIONS_PER_FEE * FEE


class WorstCase:
    """Knows of one graph how often its nodes run at most, and so what they cost."""

    def __init__(self, graph: GraphDefinition, budget: Budget) -> None:
        self._budget = budget
        self._nodes = {node.id: node for node in graph.nodes}
        self._linked: Mapping[UUID, set[str]] = defaultdict(set)
        self._before: Mapping[UUID, list[UUID]] = defaultdict(list)
        for link in graph.links:
            self._linked[link.sink_id].add(link.sink_name)
            self._before[link.sink_id].append(link.source_id)

    def of_block(self, node: NodeDefinition, entries: Iterable[Entry]) -> Most:
        """What a node with these prices costs: of several that may count, the dearest."""
        each = output = 0
        unknown = None
        seconds = policy_of(node.metadata).most_seconds
        for entry in entries:
            if not entry.amount:
                continue
            if entry.per == "run":
                each = max(each, entry.amount)
            elif entry.per == "second" and seconds is not None:
                each = max(each, due(entry, seconds))
            elif entry.per == "item":
                output = max(output, entry.amount)
            else:
                unknown = Unknown.MEASURED
        return Most(self._activations(node), each, output, unknown)

    def of_call(self, node: NodeDefinition, called: int | None) -> Most:
        """What a node costs that calls a graph; `called` is what a run of that costs at most, if somebody can say.

        Each attempt may call it anew.
        """
        activations = self._activations(node)
        if called is None:
            return Most(activations, unknown=Unknown.CALLS)
        return Most(activations, each=called * policy_of(node.metadata).retry.attempts)

    def _activations(self, node: NodeDefinition) -> int:
        return 1 if self._runs_once(node) else self._budget.nodes

    def _runs_once(self, node: NodeDefinition) -> bool:
        """Whether a node gets each value once: constants, and inputs of the graph. Other blocks may give several."""
        sources = self._before[node.id]
        if BLOCKS.get(node.block_id).kind is Kind.INPUT and sources:
            # It starts with the run as well.
            return False
        return len(sources) == len(self._linked[node.id]) and all(self._gives_once(source) for source in sources)

    def _gives_once(self, node_id: UUID) -> bool:
        block = BLOCKS.get(self._nodes[node_id].block_id)
        # A package may have inputs with a way of their own.
        is_plain = isinstance(block, InputBlock) and type(block).run is InputBlock.run
        return is_plain and not self._before[node_id]
