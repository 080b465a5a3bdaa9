"""The pure heart: which activations values make ready, in which order, and the same again from what was stored."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.ids import uuid7
from executions.engine.plan import Plan, compile_plan
from executions.engine.state import Activation, Output, RunState, Token
from executions.engine.values import Stored
from graphs.blocks.base import Block, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition


class Anything(Block):
    """A block for plans; it never runs here."""

    id = "anything"
    description = "Takes and gives anything."
    categories = frozenset({Category.BASIC})
    effect = Effect.PURE
    examples = (Example({}, ()),)

    class Input(BlockInput):
        """Whatever."""

    class Output(BlockOutput):
        """Whatever."""

    def run(self, input: Input, context: Context) -> Emissions:
        """Nothing."""
        yield "out", None


class Graph:
    """A small graph by names: "a.x -> b.y", or "=>" for a static link."""

    def __init__(self, nodes: str, links: Sequence[str]) -> None:
        self.ids = {name: uuid7() for name in nodes.split()}
        self.plan: Plan = compile_plan(
            GraphDefinition(
                id=uuid7(),
                version=1,
                owner_id=uuid7(),
                name="small",
                nodes=tuple(NodeDefinition(node, "anything") for node in self.ids.values()),
                links=tuple(self._link(text) for text in links),
            ),
            lambda _: Anything(),
        )

    def _link(self, text: str) -> LinkDefinition:
        is_static = "=>" in text
        (source, out), (sink, pin) = (e.strip().split(".") for e in text.split("=>" if is_static else "->"))
        return LinkDefinition(uuid7(), self.ids[source], out, self.ids[sink], pin, is_static)


class Play:
    """Plays a graph by hand: begin what is ready, let nodes give values, look at what that makes ready."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.state = RunState(graph.plan)
        self.state.start()
        self.begun = {a.node.id: a for a in self.take()}

    def take(self) -> list[Activation]:
        """Begin everything that is ready."""
        taken = list(self.state.ready)
        self.state.ready.clear()
        for activation in taken:
            self.state.begin(activation)
        return taken

    def give(self, node: str, value: Any) -> None:
        """The starting activation of a node gives a value on `out`."""
        activation = self.begun[self.graph.ids[node]]
        self.state.emit(activation, Output(activation.output_count, "out", Stored(value, b"")))


def values(activations: Sequence[Activation]) -> list[dict[str, Any]]:
    """What the activations consume."""
    return [activation.values for activation in activations]


def test_values_on_two_pins_pair_up_in_order_of_arrival() -> None:
    play = Play(Graph("a b join", ["a.out -> join.x", "b.out -> join.y"]))
    for value in (1, 2, 3):
        play.give("a", value)
    assert play.take() == []
    play.give("b", "p")
    play.give("b", "q")
    assert values(play.take()) == [{"x": 1, "y": "p"}, {"x": 2, "y": "q"}]
    assert play.state.stalled() == {play.graph.ids["join"]: {"y"}}


def test_links_into_one_pin_merge() -> None:
    play = Play(Graph("a b sink", ["a.out -> sink.x", "b.out -> sink.x"]))
    play.give("a", 1)
    play.give("b", 2)
    assert values(play.take()) == [{"x": 1}, {"x": 2}]


def test_a_static_value_stays_for_later_activations() -> None:
    play = Play(Graph("a b sink", ["a.out => sink.kept", "b.out -> sink.x"]))
    play.give("a", "k")
    play.give("b", 1)
    play.give("b", 2)
    assert values(play.take()) == [{"kept": "k", "x": 1}, {"kept": "k", "x": 2}]


def test_a_node_with_static_pins_only_runs_again_with_each_new_value() -> None:
    play = Play(Graph("a b sink", ["a.out => sink.x", "b.out => sink.y"]))
    play.give("a", 1)
    play.give("b", 2)
    play.give("a", 3)
    assert values(play.take()) == [{"x": 1, "y": 2}, {"x": 3, "y": 2}]


def test_outputs_wait_for_earlier_activations_of_their_node() -> None:
    play = Play(Graph("a mid sink", ["a.out -> mid.x", "mid.out -> sink.x"]))
    play.give("a", 1)
    play.give("a", 2)
    first, second = play.take()
    play.state.emit(second, Output(0, "out", Stored("second", b"")))
    play.state.close(second)
    assert play.take() == []
    assert (second.output_count, second.handed_on) == (1, 0)
    play.state.emit(first, Output(0, "out", Stored("first", b"")))
    assert values(play.take()) == [{"x": "first"}]
    assert play.state.close(first) == [second]
    assert values(play.take()) == [{"x": "second"}]


@given(st.lists(st.tuples(st.sampled_from("abs"), st.integers()), max_size=40), st.integers(0, 40))
def test_what_is_left_is_the_same_after_a_crash(gifts: list[tuple[str, int]], crash_at: int) -> None:
    graph = Graph("a b s join", ["a.out -> join.x", "b.out -> join.y", "s.out => join.kept"])
    whole = Play(graph)
    for node, value in gifts:
        whole.give(node, value)
    expected = values(whole.take())

    play = Play(graph)
    for node, value in gifts[:crash_at]:
        play.give(node, value)
    before = play.take()
    # What a store would hold: tokens that were not spent, how often nodes fired, what their static pins last had.
    sources = {a.id: node for node, a in play.begun.items()}
    given_to = {node: [v for n, v in gifts[:crash_at] if graph.ids[n] == node] for node in graph.ids.values()}
    left = [token for token in play.state.new_tokens if not token.spent]
    resumed = RunState(graph.plan)
    fired = {graph.ids["join"]: len(before), **dict.fromkeys((graph.ids[n] for n in "abs"), 1)}
    resumed.restore(fired, {graph.ids["join"]: before[-1].values} if before else {})
    resumed.restore_open(play.begun.values())
    resumed.start()
    stored = [Token(t.source_id, t.ordinal, t.link, t.position, stored=True) for t in left]
    resumed.restore_tokens(
        (token, Output(token.ordinal, "out", Stored(given_to[sources[token.source_id]][token.ordinal], b"")))
        for token in stored
    )
    play.state = resumed
    for node, value in gifts[crash_at:]:
        play.give(node, value)
    after = play.take()
    assert values(before) + values(after) == expected
    assert [a.ordinal for a in before + after] == list(range(len(expected)))
