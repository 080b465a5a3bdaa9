"""A run drawn as SVG."""

import io
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from core.ids import uuid7
from executions.layout import BOX_WIDTH, lay_out
from executions.models import GraphExecution
from executions.picture import NodeState, draw_run, friendly
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from tests import make
from tests.drawing import block_id

SVG = "{http://www.w3.org/2000/svg}"


def a_definition(names: list[str], links: list[tuple[int, int]]) -> GraphDefinition:
    """Input nodes with these names and links between them by their places."""
    nodes = tuple(NodeDefinition(uuid7(), block_id("AgentInput"), {"name": name}) for name in names)
    return GraphDefinition(
        id=uuid7(),
        version=1,
        owner_id=uuid7(),
        name="A <graph> & more\x00\x0b",
        nodes=nodes,
        links=tuple(
            LinkDefinition(uuid7(), nodes[a].id, "result", nodes[b].id, "values_#_who", is_static=a == 0)
            for a, b in links
        ),
    )


def drawn(definition: GraphDefinition, states: dict[UUID, NodeState]) -> ElementTree.Element:
    """The picture, parsed."""
    picture = draw_run(
        definition, states, status="RUNNING", seconds=1.5, block_name=lambda block: BLOCKS.get(block).name
    )
    return ElementTree.fromstring(picture)  # noqa: S314  our own picture


def texts(picture: ElementTree.Element) -> list[str]:
    """What can be read in a picture."""
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def test_every_node_tells_its_name_its_state_and_how_long_it_took() -> None:
    definition = a_definition(["a", "<b>", "c"], [(0, 1), (1, 2)])
    first, second, _ = definition.nodes
    states = {first.id: NodeState("COMPLETED", 1, 0.0123), second.id: NodeState("FAILED", 3, 75.0)}
    readable = texts(drawn(definition, states))
    assert readable[0] == "A <graph> & more\ufffd\ufffdRUNNING · 1.5 s"
    assert [text for text in readable if text in ("a", "<b>", "c")] == ["a", "<b>", "c"]
    assert "COMPLETED · 12 ms" in readable
    assert "FAILED 3\N{MULTIPLICATION SIGN} · 1 min 15 s" in readable
    assert "did not run" in readable
    assert readable.count("Agent Input") == 3
    assert sum("values.who" in text for text in readable) == 2


def test_states_have_colours_of_their_own() -> None:
    definition = a_definition(list("abcde"), [])
    statuses = ["COMPLETED", "FAILED", "RUNNING", "WAITING", "TERMINATED"]
    states = {node.id: NodeState(status, 1, 0.0) for node, status in zip(definition.nodes, statuses, strict=True)}
    edges = [box.get("stroke") for box in drawn(definition, states).iter(f"{SVG}rect")]
    assert len(set(edges)) == 6


def test_an_empty_graph_has_a_picture_too() -> None:
    assert texts(drawn(a_definition([], []), {}))[0].startswith("A <graph>")


def test_names_of_blocks_are_made_friendly() -> None:
    assert friendly("FillTextTemplateBlock") == "Fill Text Template"
    assert friendly("SendWebRequestBlock") == "Send Web Request"
    assert friendly("AIConditionBlock") == "AI Condition"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A number of nodes and links between them, cycles included."""
    count = draw(st.integers(1, 14))
    node = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(node, node), max_size=40))


@given(graphs())
def test_any_graph_is_laid_out_with_nothing_upon_another(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = graph
    nodes = [f"n{number}" for number in range(count)]
    links = [(f"l{number}", f"n{a}", f"n{b}") for number, (a, b) in enumerate(pairs)]
    layout = lay_out(nodes, links)
    assert set(layout.boxes) == set(nodes)
    assert [wire.key for wire in layout.wires] == [key for key, _, _ in links]
    for box in layout.boxes.values():
        assert 0 <= box.x <= layout.width - BOX_WIDTH
        assert 0 <= box.y <= layout.height - box.height
    columns: dict[float, list[tuple[float, float]]] = {}
    for box in layout.boxes.values():
        columns.setdefault(box.x, []).append((box.y, box.y + box.height))
    for column in columns.values():
        assert all(upper[1] < lower[0] for upper, lower in pairwise(sorted(column)))
    for wire, (_, a, b) in zip(layout.wires, links, strict=True):
        source, sink = layout.boxes[a], layout.boxes[b]
        assert wire.points[0][0] == source.x + BOX_WIDTH
        assert source.y < wire.points[0][1] < source.y + source.height
        assert wire.points[-1][0] == sink.x
        assert sink.y < wire.points[-1][1] < sink.y + sink.height
        assert wire.goes_around or sink.x > source.x


def test_a_graph_without_cycles_flows_to_the_right() -> None:
    layout = lay_out(list("abcd"), [("1", "a", "b"), ("2", "b", "c"), ("3", "a", "c"), ("4", "c", "d")])
    assert [layout.boxes[key].column for key in "abcd"] == [0, 1, 2, 3]
    assert not any(wire.goes_around for wire in layout.wires)


def test_a_cycle_is_closed_by_a_wire_that_goes_around() -> None:
    layout = lay_out(list("abc"), [("1", "a", "b"), ("2", "b", "c"), ("3", "c", "b"), ("4", "b", "b")])
    assert [wire.goes_around for wire in layout.wires] == [False, False, True, True]


def test_a_big_graph_is_drawn_in_good_time() -> None:
    nodes = [f"n{number}" for number in range(1000)]
    links = [(f"l{a}-{b}", f"n{a}", f"n{b}") for a in range(1000) for b in (a + 1, a + 37) if b < 1000]
    layout = lay_out(nodes, links)
    assert len(layout.boxes) == 1000


@pytest.mark.django_db
def test_the_command_writes_the_picture_of_a_run(tmp_path: Path) -> None:
    owner = make.a_user()
    graph = make.a_graph(owner)
    run = make.a_run(owner, graph.graph_id)
    node = next(node for node in graph.nodes.all() if node.input_default.get("name") == "who")
    for ordinal, status in enumerate(("COMPLETED", "FAILED")):
        make.an_activation(run, node.pk, "AgentInput", status=status, ordinal=ordinal)
    target = tmp_path / "run.svg"
    call_command("draw_run", str(run.pk), output=str(target))
    picture = target.read_text()
    readable = texts(ElementTree.fromstring(picture))  # noqa: S314
    assert any(text.startswith("FAILED 2\N{MULTIPLICATION SIGN}") for text in readable)
    assert readable.count("did not run") == 2
    shown = io.StringIO()
    call_command("draw_run", str(run.pk), stdout=shown)
    assert shown.getvalue().strip() == picture.strip()


@pytest.mark.django_db
def test_the_command_tells_what_it_cannot_draw_or_write(tmp_path: Path) -> None:
    owner = make.a_user()
    run = make.a_run(owner, make.a_graph(owner).graph_id)
    for run_id in ("nonsense", str(uuid4())):
        with pytest.raises(CommandError, match=f"There is no run {run_id}"):
            call_command("draw_run", run_id)
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("draw_run", str(run.pk), output=str(tmp_path / "no" / "folder.svg"))
    assert GraphExecution.objects.count() == 1
