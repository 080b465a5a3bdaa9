"""Whether a graph can run with what it is given. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphs.blocks.base import Block, Kind
from graphs.checks import NodeErrors, check_run, check_structure
from graphs.definition import GraphDefinition, NodeDefinition


def input_errors(
    definition: GraphDefinition,
    inputs: Mapping[str, Any],
    masks: Mapping[str, Mapping[str, Any]],
    block_of: Callable[[str], Block],
) -> NodeErrors:
    """What is wrong with a run's inputs, as node id → field → message; empty when it can start.

    What concerns the graph as a whole stands under the graph's id. Inputs that the graph does not have are ignored; a
    null counts as given.
    """
    errors: NodeErrors = {}
    flaws = check_structure(definition)
    for flaw in flaws:
        errors.setdefault(flaw.node_id or str(definition.id), {}).setdefault(flaw.pin or flaw.type, flaw.message)
    if flaws:
        return errors
    findings = check_run(definition, inputs=inputs, masks=masks)
    errors.update(findings.node_errors)
    for problem in findings.problems:
        errors.setdefault(str(definition.id), {}).setdefault("nodes", problem)
    for node in _nodes_of_inputs(definition, block_of):
        _check_input(node, block_of(node.block_id), inputs, masks.get(str(node.id), {}), errors)
    return errors


def _nodes_of_inputs(definition: GraphDefinition, block_of: Callable[[str], Block]) -> Iterator[NodeDefinition]:
    """The input nodes with names; of several with one name the last decides, as in the graph's input schema."""
    named = {
        node.input_default["name"]: node
        for node in definition.nodes
        if block_of(node.block_id).kind is Kind.INPUT and isinstance(node.input_default.get("name"), str)
    }
    yield from named.values()


def _check_input(
    node: NodeDefinition, block: Block, inputs: Mapping[str, Any], mask: Mapping[str, Any], errors: NodeErrors
) -> None:
    name = node.input_default["name"]
    wrong = errors.get(str(node.id), {})
    if name in inputs or "value" in mask:
        if "value" in wrong:
            wrong["value"] = f'The input "{name}" cannot be used: {wrong["value"]}'
        return
    field = type(block).Input.model_fields.get("value")
    preset = node.input_default.get("value")
    if preset is None and (field is None or field.is_required() or field.get_default() is None):
        errors.setdefault(str(node.id), {})["value"] = f'This input is required: give "{name}" in inputs'
