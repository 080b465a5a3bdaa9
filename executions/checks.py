"""Whether a graph can run with what it is given. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphs.blocks.base import Block, Kind
from graphs.checks import Masks, check_run, check_structure
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from graphs.errors import NodeErrors
from graphs.interface import credentials_masks, trigger_of


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a graph can run: it can without `errors`, which are node id → field → message.

    What concerns the graph as a whole stands under the graph's id. `nodes_to_skip` are left out of the run, because
    their optional credentials were not given.
    """

    errors: NodeErrors = field(default_factory=dict)
    nodes_to_skip: frozenset[str] = frozenset()


class RunChecks:
    """Knows of one graph version whether it can run.

    What no run can change is found out once, so that an answer takes as long as what is given is large, whatever the
    size of the graph. Only a refusal looks at the whole graph again, to tell all that is wrong in the graph's order.
    `trigger_id` is the node with which events start the graph, if there is one.
    """

    def __init__(self, definition: GraphDefinition, block_of: Callable[[str], Block]) -> None:
        self.definition = definition
        self._block_of = block_of
        self._nodes = {str(node.id): node for node in definition.nodes}
        trigger = trigger_of(definition.nodes)
        self.trigger_id = trigger and str(trigger[0].id)
        self._flaws: NodeErrors = {}
        for flaw in check_structure(definition):
            self._flaws.setdefault(flaw.node_id or str(definition.id), {}).setdefault(
                flaw.pin or flaw.type, flaw.message
            )
        if self._flaws:
            return
        self._inputs: dict[str, list[NodeDefinition]] = {}
        for node in definition.nodes:
            name = node.input_default.get("name")
            if block_of(node.block_id).kind is Kind.INPUT and isinstance(name, str):
                self._inputs.setdefault(name, []).append(node)
        self._links_to: dict[str, list[LinkDefinition]] = {}
        for link in definition.links:
            self._links_to.setdefault(str(link.sink_id), []).append(link)
        self._bare = self._look_at_all({}, {})

    def answer(self, inputs: Mapping[str, Any], masks: Masks) -> Answer:
        """Whether the graph can run with `inputs` by name and `masks` by node id and pin.

        Inputs that the graph does not have are ignored; a null counts as given.
        """
        if self._flaws:
            return Answer(self._flaws)
        given = {str(node.id): node for name in inputs for node in self._inputs.get(name, ())}
        given.update({node_id: self._nodes[node_id] for node_id in masks if node_id in self._nodes})
        if not given:
            return self._bare
        links = [link for node_id in given for link in self._links_to.get(node_id, ())]
        errors, nodes_to_skip, _ = self._look_at(list(given.values()), links, inputs, masks)
        if errors or not self._bare.errors.keys() <= given.keys():
            return self._look_at_all(inputs, masks)
        return Answer(nodes_to_skip=(self._bare.nodes_to_skip - given.keys()) | nodes_to_skip)

    def masks(self, credential_inputs: Mapping[str, Any], masks: Masks) -> Masks:
        """What nodes are given by whoever starts a run: credentials by their names, and over them `masks`."""
        if not credential_inputs:
            return masks
        merged = credentials_masks(self.definition.nodes, credential_inputs)
        for node_id, pins in masks.items():
            merged[node_id] = {**merged.get(node_id, {}), **pins}
        return merged

    def nodes_of_input(self, name: str) -> list[str]:
        """The ids of the input nodes that are called so, of a graph without flaws."""
        return [str(node.id) for node in self._inputs.get(name, ())]

    def _look_at_all(self, inputs: Mapping[str, Any], masks: Masks) -> Answer:
        errors, nodes_to_skip, problems = self._look_at(self.definition.nodes, self.definition.links, inputs, masks)
        for problem in problems:
            errors.setdefault(str(self.definition.id), {}).setdefault("nodes", problem)
        return Answer(errors, nodes_to_skip)

    def _look_at(
        self, nodes: Sequence[NodeDefinition], links: Sequence[LinkDefinition], inputs: Mapping[str, Any], masks: Masks
    ) -> tuple[NodeErrors, frozenset[str], list[str]]:
        """What there is to say of these nodes, which depends on no others; `links` are those that reach them."""
        whole = self.definition
        part = GraphDefinition(whole.id, whole.version, whole.owner_id, whole.name, tuple(nodes), tuple(links))
        findings = check_run(part, inputs=inputs, masks=masks)
        errors = findings.node_errors
        for node in self._deciding(nodes):
            self._check_input(node, inputs, masks.get(str(node.id), {}), errors)
        return errors, frozenset(findings.nodes_to_skip), findings.problems

    def _deciding(self, nodes: Iterable[NodeDefinition]) -> Iterable[NodeDefinition]:
        """The inputs among `nodes`; of several with one name the last decides, as in the graph's input schema."""
        among = {str(node.id) for node in nodes}
        return [named[-1] for named in self._inputs.values() if str(named[-1].id) in among]

    def _check_input(
        self, node: NodeDefinition, inputs: Mapping[str, Any], mask: Mapping[str, Any], errors: NodeErrors
    ) -> None:
        name = node.input_default["name"]
        wrong = errors.get(str(node.id), {})
        if name in inputs or "value" in mask:
            if "value" in wrong:
                wrong["value"] = f'The input "{name}" cannot be used: {wrong["value"]}'
            return
        pin = type(self._block_of(node.block_id)).Input.model_fields.get("value")
        preset = node.input_default.get("value")
        if preset is None and (pin is None or pin.is_required() or pin.get_default() is None):
            errors.setdefault(str(node.id), {})["value"] = f'This input is required: give "{name}" in inputs'
