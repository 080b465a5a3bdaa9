"""What a graph must do, said as simply as possible: one step after the other, no rows, no clock, no workers.

Written from docs/engine.md and the graph format, not from the engine. Blocks, the conversion of their inputs and the
dynamic pins are the platform's own: tests/graphs/test_blocks_*.py, test_bad_input.py and test_pins.py are about them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from core.errors import DomainError
from core.json import decode, encode
from graphs import pins
from graphs.blocks.base import Block, BlockError, CallGraph, ChildResult, Context, Kind, Suspension, Used
from graphs.blocks.inputs import check_output, prepare
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition, LinkDefinition

Emission = tuple[str, Any]
Pick = Callable[[Sequence[UUID]], UUID]
NOBODY = UUID(int=0)


@dataclass
class Turn:
    """One activation of a node: what arrived for it, what its block was given, and what it gave."""

    node: UUID
    arrived: Mapping[str, Any]
    emissions: Iterator[Emission] | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: list[Emission] = field(default_factory=list)
    status: str = "COMPLETED"


class OverBudget(Exception):
    """One activation more would have begun than the run may have."""


class Interpreter:
    """Interprets one run of a graph. `pick` chooses which of the nodes with something to do makes the next step."""

    def __init__(
        self,
        graph: GraphDefinition,
        inputs: Mapping[str, Any],
        masks: Mapping[str, Mapping[str, Any]],
        budget: int,
        pick: Pick,
        graph_of: Callable[[UUID], GraphDefinition],
    ) -> None:
        self._graph, self._inputs, self._masks, self._budget = graph, inputs, masks, budget
        self._pick, self._graph_of = pick, graph_of
        self._nodes = {node.id: node for node in graph.nodes}
        self._blocks = {node.id: BLOCKS.get(node.block_id) for node in graph.nodes}
        self._linked = {node: {link.sink_name for link in graph.links if link.sink_id == node} for node in self._nodes}
        self._sets: dict[UUID, list[dict[str, Any]]] = {node: [] for node in self._nodes}
        self._last: dict[UUID, dict[str, Any]] = {node: {} for node in self._nodes}
        self._lanes: dict[UUID, deque[Turn]] = {node: deque() for node in self._nodes}
        self.turns: list[Turn] = []
        self.status = "COMPLETED"

    def run(self) -> "Interpreter":
        """Interpret the run to its end."""
        for node, block in self._blocks.items():
            if block.kind is Kind.INPUT or (not self._linked[node] and block.kind is not Kind.NOTE):
                self._lanes[node].append(Turn(node, {}))
        try:
            while busy := [node for node, lane in self._lanes.items() if lane]:
                self._step(self._lanes[self._pick(busy)])
        except OverBudget:
            self.status = "FAILED"
        return self

    @property
    def stalled(self) -> dict[UUID, set[str]]:
        """The nodes that got some of their values but never all, with the pins that stayed empty."""
        waiting = {
            node: {pin for values in sets for pin in self._linked[node] - values.keys() - self._last[node].keys()}
            for node, sets in self._sets.items()
        }
        return {node: missing for node, missing in waiting.items() if missing}

    @property
    def outputs(self) -> list[tuple[str, Any]]:
        """The run's outputs, (name, value): what its output nodes were given."""
        given = [t for t in self.turns if self._blocks[t.node].kind is Kind.OUTPUT and t.status == "COMPLETED"]
        return [(turn.inputs["name"], turn.inputs["value"]) for turn in given if "value" in turn.inputs]

    def _step(self, lane: deque[Turn]) -> None:
        """The foremost turn of a node begins, gives one output, or ends: so outputs leave in the order of the turns."""
        turn = lane[0]
        if turn.emissions is None:
            if len(self.turns) >= self._budget:
                raise OverBudget
            self.turns.append(turn)
            turn.emissions = self.emissions_of(turn)
        elif (emission := next(turn.emissions, None)) is None:
            lane.popleft()
        else:
            turn.outputs.append(emission)
            for link in self._graph.links:
                if link.source_id == turn.node:
                    part = pins.split(emission[1], emission[0], link.source_name, (str(link.sink_id), link.sink_name))
                    if part is not pins.MISSING:
                        self._arrive(link, part)

    def _arrive(self, link: LinkDefinition, value: Any) -> None:
        """A value goes to the oldest unfinished set of inputs that lacks its pin."""
        sets = self._sets[link.sink_id]
        oldest = next((values for values in sets if link.sink_name not in values), None)
        if oldest is None:
            sets.append(oldest := {})
        oldest[link.sink_name] = value
        if self._fire(link.sink_id, oldest) and self._is_static(link):
            for other in list(sets):
                self._fire(link.sink_id, other)

    def _fire(self, node: UUID, values: dict[str, Any]) -> bool:
        """If the set is complete, with what static links brought last, it becomes a turn."""
        arrived = {**self._last[node], **values}
        if arrived.keys() != self._linked[node]:
            return False
        position = next(place for place, one in enumerate(self._sets[node]) if one is values)
        del self._sets[node][position]
        static = {link.sink_name for link in self._graph.links if link.sink_id == node and self._is_static(link)}
        self._last[node] = {pin: arrived[pin] for pin in static}
        self._lanes[node].append(Turn(node, arrived))
        return True

    def _is_static(self, link: LinkDefinition) -> bool:
        return link.is_static or self._blocks[link.source_id].static_output

    def emissions_of(self, turn: Turn) -> Iterator[Emission]:
        """What the block gives, each value as it is stored; an error ends it and comes last."""
        block = self._blocks[turn.node]
        try:
            turn.inputs = self.inputs_of(turn)
            for pin, value in self._answered(turn.node, block, prepare(block, turn.inputs), ()):
                if pin == "error":
                    turn.status = "FAILED"
                    yield pin, str(value)
                    return
                check_output(block, pin, value)
                yield pin, decode(encode(value))
        except Exception as error:
            turn.status = "FAILED"
            known = isinstance(error, BlockError | DomainError)
            yield "error", str(error) if known else f"{type(error).__name__}: {error}"

    def _answered(self, node: UUID, block: Block, block_input: Any, answers: tuple[Any, ...]) -> Iterator[Emission]:
        """What the block yields; when it wants to wait it is run again with one answer more, from its start."""
        context = Context(NOBODY, self._graph.id, NOBODY, node, key="", answers=answers)
        for emission in _run(block, block_input, context):
            if isinstance(emission, Suspension):
                yield from self._answered(node, block, block_input, (*answers, self._answer(emission)))
                return
            if not isinstance(emission, Used):
                yield emission

    def inputs_of(self, turn: Turn) -> dict[str, Any]:
        """Constants of pins without links, over them what arrived or the run's input, over that the mask."""
        node = self._nodes[turn.node]
        given = {pin: value for pin, value in node.input_default.items() if pin not in self._linked[turn.node]}
        given.update(turn.arrived)
        is_input = self._blocks[turn.node].kind is Kind.INPUT
        if is_input and not turn.arrived and node.input_default.get("name") in self._inputs:
            given["value"] = self._inputs[node.input_default["name"]]
        return pins.merge({**given, **self._masks.get(str(turn.node), {})})

    def _answer(self, suspension: Suspension) -> Any:
        if not isinstance(suspension, CallGraph):
            return None
        called = self._graph_of(suspension.graph_id)
        masks = suspension.nodes_input_masks
        child = Interpreter(called, suspension.inputs, masks, self._budget, self._pick, self._graph_of).run()
        return ChildResult(NOBODY, child.status, tuple(child.outputs))


def _run(block: Block, block_input: Any, context: Context) -> Iterator[Emission | Suspension | Used]:
    emissions = block.run(block_input, context)
    if isinstance(emissions, Iterator):
        yield from emissions
        return
    found: list[Emission | Suspension | Used] = []

    async def collect() -> None:
        async for emission in emissions:
            found.append(emission)

    failure: Exception | None = None
    try:
        asyncio.run(collect())
    except Exception as error:
        failure = error
    yield from found
    if failure is not None:
        raise failure
