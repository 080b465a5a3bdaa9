"""What a block is given: its constants, what arrived, and what whoever started the run put in. Pure."""

from collections.abc import Mapping
from typing import Any

from executions.engine.state import Activation
from executions.engine.values import plain
from graphs import pins
from graphs.blocks.base import Kind


def input_of(
    activation: Activation, run_inputs: Mapping[str, Any], masks: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The activation's input by pin name: constants, over them what arrived, over that the run's inputs and masks.

    A run's input reaches the starting activation of the input node with its name. Dynamic
    pins are merged into their base pin. Raises `BadPath` for an impossible list index.
    """
    node = activation.node
    data = dict(node.defaults)
    for pin in node.linked:
        data.pop(pin, None)
    data.update(plain(activation.values))
    if node.block.kind is Kind.INPUT and not activation.values and node.name in run_inputs:
        data["value"] = run_inputs[node.name]
    if masks:
        data.update(masks.get(str(node.id), {}))
    elif not node.has_dynamic_pins:
        return data
    return pins.merge(data)
