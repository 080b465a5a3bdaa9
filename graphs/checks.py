"""What makes a graph sound, and what makes it runnable: pure functions, no database.

`check_structure` looks at how a drawing hangs together, `check_pins` at the value of each pin, `check_run` at
everything that must hold before a run starts. Each returns all it finds, in time proportional to the graph.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from pydantic import ValidationError

from core.errors import Unavailable
from graphs import pins
from graphs.blocks.base import BadInput, BadPath, Block, CredentialsPlaceholder, Kind
from graphs.blocks.inputs import prepare
from graphs.blocks.registry import BLOCKS
from graphs.blocks.rules import is_credentials_name
from graphs.errors import NodeErrors, Problem, UnknownBlock
from graphs.pinouts import NodeLike, input_pins, output_pins, pinout, stored_schema
from graphs.policy import policy_errors

Masks = Mapping[str, Mapping[str, Any]]

REQUIRED = "This field is required"
CREDENTIALS_REQUIRED = "These credentials are required"
_MOST_IDS = 100
# These kinds describe the graph to its users, so they must be whole as soon as it is saved.
_WHOLE_WHEN_SAVED = frozenset({Kind.INPUT, Kind.OUTPUT, Kind.AGENT})


class LinkLike(Protocol):
    """A link: drafted, saved, or as plain data."""

    @property
    def id(self) -> UUID | str:
        """Unique among the links of its graph."""

    @property
    def source_id(self) -> UUID | str:
        """The node it leaves."""

    @property
    def source_name(self) -> str:
        """The output pin it starts at."""

    @property
    def sink_id(self) -> UUID | str:
        """The node it reaches."""

    @property
    def sink_name(self) -> str:
        """The input pin it ends at."""


class Drawing(Protocol):
    """Nodes and the links between them."""

    @property
    def nodes(self) -> Sequence[NodeLike]:
        """In the order they were drawn."""

    @property
    def links(self) -> Sequence[LinkLike]:
        """In the order they were drawn."""


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """What the checks ask about a user's credentials."""

    provider: str
    type: str


# Finds a user's credentials by id; None when they have none with it. Raises Unavailable when the store is away.
FindCredentials = Callable[[str], StoredCredentials | None]


@dataclass(slots=True)
class Findings:
    """What stands in the way of a run, and which nodes it leaves out for want of optional credentials."""

    problems: list[str] = field(default_factory=list)
    node_errors: NodeErrors = field(default_factory=dict)
    nodes_to_skip: set[str] = field(default_factory=set)

    def add(self, node: NodeLike, pin: str, message: str) -> None:
        """Note the first thing that is wrong with a pin."""
        self.node_errors.setdefault(str(node.id), {}).setdefault(pin, message)


# --- How it hangs together --------------------------------------------------------------------------------------


def check_structure(drawing: Drawing) -> list[Problem]:
    """Every flaw in the structure: node ids used twice, unknown blocks, links to no node, links to no pin."""
    nodes: dict[str, NodeLike] = {}
    blocks: dict[str, Block] = {}
    problems: list[Problem] = []
    for node in drawing.nodes:
        node_id = str(node.id)
        if node_id in nodes:
            problems.append(Problem("duplicate_node", f"Two nodes have the id {node_id}", node_id=node_id))
            continue
        nodes[node_id] = node
        try:
            blocks[node_id] = BLOCKS.get(node.block_id)
        except UnknownBlock:
            problems.append(_unknown_block(node))
    for link in drawing.links:
        problems.extend(_link_problems(link, nodes, blocks))
    return problems


def always_keeps(source: NodeLike) -> bool:
    """Whether every link that leaves `source` is static, marked so or not."""
    return BLOCKS.get(source.block_id).static_output


def _unknown_block(node: NodeLike) -> Problem:
    known = tuple(block.id for block in BLOCKS.all())
    message = f"Node {node.id}: there is no block {node.block_id[:60]!r}"
    return Problem("unknown_block", message, node_id=str(node.id), allowed=known)


def _link_problems(link: LinkLike, nodes: Mapping[str, NodeLike], blocks: Mapping[str, Block]) -> Iterator[Problem]:
    ends = (
        (str(link.source_id), link.source_name, "source", output_pins, "outputs"),
        (str(link.sink_id), link.sink_name, "sink", input_pins, "inputs"),
    )
    for node_id, pin, end, pins_of, kind in ends:
        if node_id not in nodes:
            yield Problem(
                "dangling_link",
                f"Link {link.id} from {link.source_id}/{link.source_name} to {link.sink_id}/{link.sink_name}: "
                f"its {end} {node_id} is not a node of this graph",
                node_id=node_id,
                link_id=str(link.id),
                allowed=tuple(list(nodes)[:_MOST_IDS]),
            )
        elif node_id in blocks and not pins.is_tool_pin(pin):
            allowed = pins_of(nodes[node_id], blocks[node_id])
            if pins.base_name(pin) not in allowed:
                block = blocks[node_id]
                yield Problem(
                    "wrong_pin",
                    f"Link {link.id}: node {node_id} ({block.name}) has no {kind[:-1]} '{pin}'; "
                    f"its {kind} are {', '.join(sorted(allowed)) or 'none'}",
                    node_id=node_id,
                    link_id=str(link.id),
                    pin=pin,
                    allowed=tuple(sorted(allowed)),
                )


# --- What is on the pins ----------------------------------------------------------------------------------------


def check_pins(drawing: Drawing) -> NodeErrors:
    """What must be right for a sound drawing to be saved; the same and more is asked before a run."""
    findings = Findings()
    _check_pins(drawing, findings, masks={}, for_run=False)
    return findings.node_errors


def check_run(
    drawing: Drawing,
    *,
    inputs: Mapping[str, Any],
    masks: Masks | None = None,
    find_credentials: FindCredentials | None = None,
) -> Findings:
    """What stands in the way of running a sound drawing with `inputs` by input name and `masks` by node id and pin.

    Without `find_credentials` it is not looked up whether the credentials that are named exist and fit.
    """
    masks = masks or {}
    findings = Findings()
    _check_pins(drawing, findings, masks=masks, for_run=True)
    for node in drawing.nodes:
        _check_credentials(node, findings, masks.get(str(node.id), {}), find_credentials)
    starting = list(starting_nodes(drawing))
    if not starting:
        findings.problems.append("Nothing would start: the graph needs an input or a node that no link reaches")
    for node in starting:
        if str(node.id) not in findings.node_errors and str(node.id) not in findings.nodes_to_skip:
            _check_start(node, findings, inputs, masks.get(str(node.id), {}))
    return findings


def starting_nodes(drawing: Drawing) -> Iterator[NodeLike]:
    """The nodes that a run begins with: those that no link reaches, and every input; never a note."""
    reached = {str(link.sink_id) for link in drawing.links}
    for node in drawing.nodes:
        kind = BLOCKS.get(node.block_id).kind
        if kind is Kind.INPUT or (kind is not Kind.NOTE and str(node.id) not in reached):
            yield node


def _check_pins(drawing: Drawing, findings: Findings, *, masks: Masks, for_run: bool) -> None:
    linked: dict[str, set[str]] = {}
    for link in drawing.links:
        linked.setdefault(str(link.sink_id), set()).add(pins.base_name(link.sink_name))
    for node in drawing.nodes:
        block = BLOCKS.get(node.block_id)
        mask = masks.get(str(node.id), {})
        for place, message in policy_errors(node.metadata).items():
            findings.add(node, place, message)
        fed = linked.get(str(node.id), set())
        if for_run or block.kind in _WHOLE_WHEN_SAVED:
            given = {pins.base_name(name) for name in (*node.input_default, *mask)} | fed
            for pin in pinout(block).needed:
                if pin not in given and not (pin == "payload" and block.kind.is_trigger):
                    findings.add(node, pin, REQUIRED)
        if block.kind is Kind.INPUT and is_credentials_name(str(node.input_default.get("name", ""))):
            message = "An input may not be named 'credentials' or '*_credentials': those names are reserved"
            findings.add(node, "name", message)
        _check_companions(node, block, findings, mask, fed, for_run=for_run)


def _check_companions(
    node: NodeLike, block: Block, findings: Findings, mask: Mapping[str, Any], fed: set[str], *, for_run: bool
) -> None:
    out = pinout(block)
    if not out.needs and not out.discriminators:
        return

    def is_set(pin: str) -> bool:
        values = (mask.get(pin), node.input_default.get(pin))
        return pin in fed or pin in out.preset or any(v is not None and str(v).strip() for v in values)

    required = {*out.needed, *out.credentials}
    for pin in {**out.needs, **out.discriminators}:
        wanted = list(out.needs.get(pin, ())) if for_run else []
        wanted += [out.discriminators[pin]] if pin in out.discriminators else []
        missing = [name for name in wanted if not is_set(name)]
        if missing and (pin in required or is_set(pin)):
            findings.add(node, pin, f"Requires {', '.join(missing)} to be set")


def _check_credentials(
    node: NodeLike, findings: Findings, mask: Mapping[str, Any], find: FindCredentials | None
) -> None:
    block = BLOCKS.get(node.block_id)
    for pin in pinout(block).credentials:
        is_optional = node.metadata.get("credentials_optional") is True
        # With optional credentials, what is stored is a suggestion of the editor and not the user's choice.
        value = mask.get(pin) or (None if is_optional else node.input_default.get(pin))
        if not value or (isinstance(value, Mapping) and not value.get("id")):
            if is_optional:
                findings.nodes_to_skip.add(str(node.id))
            elif not type(block).Input.model_fields[pin].is_required():
                continue
            else:
                findings.add(node, pin, CREDENTIALS_REQUIRED)
            continue
        try:
            placeholder = CredentialsPlaceholder.model_validate(value)
        except ValidationError:
            findings.add(node, pin, "Invalid credentials: give an object with id, provider and type")
            continue
        if find is not None:
            _check_stored(node, pin, placeholder, findings, find)


def _check_stored(
    node: NodeLike, pin: str, placeholder: CredentialsPlaceholder, findings: Findings, find: FindCredentials
) -> None:
    try:
        stored = find(placeholder.id)
    except Unavailable:
        findings.add(node, pin, "Credentials cannot be looked up at the moment; try again")
        return
    if stored is None:
        findings.add(node, pin, f"You have no credentials {placeholder.id}")
    elif (stored.provider, stored.type) != (placeholder.provider, placeholder.type):
        findings.add(
            node,
            pin,
            f"Credentials {placeholder.id} are {stored.provider}/{stored.type}, "
            f"not {placeholder.provider}/{placeholder.type}",
        )


def _check_start(node: NodeLike, findings: Findings, inputs: Mapping[str, Any], mask: Mapping[str, Any]) -> None:
    block = BLOCKS.get(node.block_id)
    values = dict(node.input_default)
    name = values.get("name")
    if block.kind is Kind.INPUT and isinstance(name, str) and name in inputs:
        values["value"] = inputs[name]
    values.update(mask)
    if block.kind is Kind.AGENT:
        given = values.get("inputs")
        for pin in stored_schema(node, "input_schema")["required"]:
            if pin not in values and not (isinstance(given, Mapping) and pin in given):
                findings.add(node, pin, REQUIRED)
        return
    try:
        prepare(block, pins.merge(values))
    except BadInput as error:
        for pin, message in error.pins.items():
            findings.add(node, pin, message[:1].upper() + message[1:])
    except BadPath as error:
        findings.add(node, next(name for name in values if pins.is_dynamic(name)), str(error))
