"""Whether the turns that a run made are those that its graph, its inputs and what its blocks gave lead to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from core.errors import DomainError
from graphs.blocks.base import BlockError
from graphs.definition import GraphDefinition
from tests.invariants.rows import Rows
from tests.invariants.values import by_pin
from tests.proof.reference import Emission, Interpreter, Pick, Turn

# To play more again would take long.
MOST = 300
FIRST: Pick = lambda busy: busy[0]  # noqa: E731  what picks is an argument
LAST: Pick = lambda busy: busy[-1]  # noqa: E731
# What each turn of each node was given; None if it could not be given anything.
Played = dict[tuple[UUID, int], dict[str, Any] | None]


def missed(rows: Rows) -> Iterator[str]:
    """I5: no node of a completed run has all that it needs for one turn more."""
    if rows.plan is None or not rows.is_completed:
        return
    began = Counter(node.node_id for node in rows.nodes)
    waiting = by_pin(rows.plan, rows.waiting & rows.came)
    for node in rows.plan.nodes.values():
        if node.is_start and not began[node.id]:
            yield f"never began {node.block.name} {node.id}"
        has_all = all(waiting[node.id, pin] or (pin in node.static and began[node.id]) for pin in node.linked)
        if has_all and any(waiting[node.id, pin] for pin in node.linked):
            yield f"holds all that {node.block.name} {node.id} needs for one more turn"


def others(rows: Rows) -> Iterator[str]:
    """I5: with what its blocks gave, the reference interpreter makes the same turns of a completed run.

    Where it depends on who was quicker, nobody can tell; large inputs are left out.
    """
    if rows.plan is None or not rows.is_completed or len(rows.nodes) + rows.run.output_count > MOST:
        return
    given = {
        (node.node_id, node.ordinal): [(output.pin, rows.value_of(output)) for output in rows.outputs.get(node.pk, ())]
        for node in rows.nodes
    }
    run = rows.run
    expected = play(rows.definition, run.inputs, run.nodes_input_masks, given, FIRST)
    if expected != play(rows.definition, run.inputs, run.nodes_input_masks, given, LAST):
        return
    made = {(node.node_id, node.ordinal): node for node in rows.nodes}
    if expected.keys() != made.keys():
        yield f"should have made the turns {sorted(expected)}, and made {sorted(made)}"
    for turn in expected.keys() & made.keys():
        inputs = expected[turn]
        large = made[turn].input_blobs or {}
        # What was taken over from another run may have had other inputs.
        if inputs is not None and made[turn].started_fence and not _agree(inputs, made[turn].input_data, large):
            yield f"gave {made[turn]} {made[turn].input_data} instead of {inputs}"


def play(
    graph: GraphDefinition,
    inputs: Mapping[str, Any],
    masks: Mapping[str, Mapping[str, Any]],
    given: Mapping[tuple[UUID, int], Sequence[Emission]],
    pick: Pick,
) -> Played:
    """The turns of a run whose blocks give what they gave."""
    played: Played = {}
    _Replay(graph, inputs, masks, len(given) + 1, pick, given, played).run()
    return played


class _Replay(Interpreter):
    """Instead of running blocks it looks up what each turn gave."""

    def __init__(
        self,
        graph: GraphDefinition,
        inputs: Mapping[str, Any],
        masks: Mapping[str, Mapping[str, Any]],
        budget: int,
        pick: Pick,
        given: Mapping[tuple[UUID, int], Sequence[Emission]],
        played: Played,
    ) -> None:
        super().__init__(graph, inputs, masks, budget, pick, _calls_nothing)
        self._given, self._played = given, played
        self._count: Counter[UUID] = Counter()

    def emissions_of(self, turn: Turn) -> Iterator[Emission]:
        """What the turn gave then."""
        key = (turn.node, self._count[turn.node])
        self._count[turn.node] += 1
        try:
            self._played[key] = self.inputs_of(turn)
        except (BlockError, DomainError):
            self._played[key] = None
        return iter(self._given.get(key, ()))


def _calls_nothing(graph_id: UUID) -> GraphDefinition:
    raise AssertionError(f"What {graph_id} gave is known")


def _agree(inputs: Mapping[str, Any], recorded: Mapping[str, Any], large: Mapping[str, str]) -> bool:
    pins = (inputs.keys() | recorded.keys()) - large.keys()
    return all(inputs.get(pin) == recorded.get(pin) for pin in pins)
