"""Whatever constants a node has, a graph can be checked, described and exported; pure, no database."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs import interface
from graphs.blocks.base import Block
from graphs.blocks.catalogue import input_schema
from graphs.blocks.registry import BLOCKS
from graphs.checks import check_pins, check_run, check_structure
from graphs.schemas import GraphDraft
from graphs.stripping import strip_node

texts = st.sampled_from(["", "x", "true", "1e999", "-0", "[1]", '{"a": 1}', "\u0000", "9" * 5000, "a_$_0", "name"])
numbers = st.sampled_from([0, -1, 1.5, 10**30, 10**400, -(2**63), 1e308])
leaves = st.none() | st.booleans() | texts | numbers
anything = st.recursive(
    leaves,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("block", BLOCKS.all(), ids=lambda block: block.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_constants_upset_the_checks_or_the_descriptions(block: Block, data: st.DataObject) -> None:
    names = [*input_schema(block)["properties"], "value", "name", "values_$_x", "values_#_a", "input_schema"]
    constants: dict[str, Any] = data.draw(st.dictionaries(st.sampled_from(names), anything, max_size=5))
    graph = GraphDraft.model_validate(
        {
            "name": "any",
            "description": "",
            "nodes": [{"id": "n", "block_id": block.id, "input_default": constants, "metadata": {"x": constants}}],
            "links": [{"source_id": "n", "source_name": "result", "sink_id": "n", "sink_name": "value"}],
        }
    )
    before = repr(graph.nodes)
    check_structure(graph)
    check_pins(graph)
    check_run(graph, inputs={"x": data.draw(anything)})
    graph.links.clear()
    check_run(graph, inputs={"x": data.draw(anything)}, masks={"n": {"value": data.draw(anything)}})
    interface.describe(graph.nodes)
    interface.credentials_schema(graph.nodes)
    strip_node(graph.nodes[0])
    assert repr(graph.nodes) == before
