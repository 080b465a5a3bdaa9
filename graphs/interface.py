"""What a graph looks like from outside: schemas of its inputs, outputs and credentials, and how it is started.

Computed from the nodes and never stored. Nodes whose block is not installed are left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from graphs.blocks.base import Block, Kind
from graphs.blocks.catalogue import input_schema as block_input_schema
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock
from graphs.pinouts import NodeLike, pinout

TABLE_INPUT = "5603b273-f41e-4020-af7d-fbc9c6a8d928"
# These describe the pin of the block; the node says its own.
_OF_THE_PIN = frozenset({"title", "description", "default", "advanced", "secret", "hidden", "placeholder"})

Placed = tuple[NodeLike, Block]


def describe(nodes: Iterable[NodeLike]) -> dict[str, Any]:
    """The computed keys that every graph has."""
    placed = list(_placed(nodes))
    return {
        "input_schema": _schema_of(placed, Kind.INPUT),
        "output_schema": _schema_of(placed, Kind.OUTPUT),
        "has_external_trigger": _trigger(placed) is not None,
        "has_human_in_the_loop": any(block.kind is Kind.HUMAN_IN_THE_LOOP for _, block in placed),
        "has_sensitive_action": any(block.sensitive for _, block in placed),
        "trigger_setup_info": _trigger_setup(placed),
    }


def credentials_schema(nodes: Iterable[NodeLike]) -> dict[str, Any]:
    """Which credentials a run needs, one property for each group of providers and types that would do.

    Pass the nodes of the graph and of all graphs it calls.
    """
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    for node, block in _placed(nodes):
        for pin in pinout(block).credentials:
            field = block_input_schema(block)["properties"][pin]
            name, providers, types = _group_of(node, field)
            schema = properties.setdefault(name, _credentials_group(providers, types))
            _unite(schema["credentials_scopes"], field.get("credentials_scopes", ()))
            value = node.input_default.get(field.get("discriminator", ""))
            _unite(schema["discriminator_values"], () if value is None else (value,))
            if node.metadata.get("credentials_optional") is not True:
                _unite(required, (name,))
    return {"type": "object", "properties": properties, "required": required}


def credentials_masks(nodes: Iterable[NodeLike], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What nodes get, by id and pin, of the credentials that are `given` by their names in `credentials_schema`."""
    masks: dict[str, dict[str, Any]] = {}
    for node, block in _placed(nodes):
        for pin in pinout(block).credentials:
            name, _, _ = _group_of(node, block_input_schema(block)["properties"][pin])
            if name in given:
                masks.setdefault(str(node.id), {})[pin] = given[name]
    return masks


def trigger_of(nodes: Iterable[NodeLike]) -> Placed | None:
    """The node that events from outside start the graph with, and its block: the first of its kind."""
    return _trigger(_placed(nodes))


def _placed(nodes: Iterable[NodeLike]) -> Iterator[Placed]:
    for node in nodes:
        try:
            yield node, BLOCKS.get(node.block_id)
        except UnknownBlock:
            continue


def _schema_of(placed: Sequence[Placed], kind: Kind) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    for node, block in placed:
        name = node.input_default.get("name")
        if block.kind is not kind or not isinstance(name, str):
            continue
        properties[name] = _property(node, block, name)
        if "default" not in properties[name]:
            _unite(required, (name,))
    # A name used twice counts as its last node says.
    required = [name for name in required if "default" not in properties[name]]
    return {"type": "object", "properties": properties, "required": required}


def _property(node: NodeLike, block: Block, name: str) -> dict[str, Any]:
    given = node.input_default
    pins = block_input_schema(block)["properties"]
    shape = {key: part for key, part in pins.get("value", {}).items() if key not in _OF_THE_PIN}
    default = given["value"] if given.get("value") is not None else pins.get("value", {}).get("default")
    shape["title"] = given.get("title") or name
    shape["secret"] = given.get("secret") is True
    shape["advanced"] = given.get("advanced") is True and default is not None
    if given.get("description"):
        shape["description"] = given["description"]
    if default is not None:
        shape["default"] = default
    if given.get("placeholder_values"):
        shape["enum"] = given["placeholder_values"]
    if block.id == TABLE_INPUT:
        headers = given.get("column_headers")
        headers = headers if isinstance(headers, list) else pins["column_headers"].get("default", [])
        row = {"type": "object", "properties": {str(header): {"type": "string"} for header in headers}}
        shape = {**{key: part for key, part in shape.items() if key != "anyOf"}, "type": "array", "items": row}
    return shape


def _trigger(placed: Iterable[Placed]) -> Placed | None:
    return next(((node, block) for node, block in placed if block.kind.is_trigger), None)


def _trigger_setup(placed: Sequence[Placed]) -> dict[str, Any] | None:
    if (trigger := _trigger(placed)) is None:
        return None
    block = trigger[1]
    schema = block_input_schema(block)
    credentials = pinout(block).credentials
    providers = schema["properties"][credentials[0]].get("credentials_provider", []) if credentials else []
    hidden = {*credentials, "payload"}
    return {
        "provider": providers[0] if providers else block.provider or None,
        "config_schema": {
            **schema,
            "properties": {pin: part for pin, part in schema["properties"].items() if pin not in hidden},
            "required": [pin for pin in schema.get("required", []) if pin not in hidden],
        },
        "credentials_input_name": credentials[0] if credentials else None,
    }


def _group_of(node: NodeLike, field: Mapping[str, Any]) -> tuple[str, list[str], list[str]]:
    """The name under which a run is given the credentials of a pin, and which providers and types would do."""
    providers = sorted(_providers(node, field))
    types = sorted(field.get("credentials_types", ()))
    return f"{'-'.join(providers)}_{'-'.join(types)}_credentials", providers, types


def _providers(node: NodeLike, field: Mapping[str, Any]) -> set[str]:
    """The providers whose credentials fit, narrowed where the node has decided, say by its model."""
    mapping = field.get("discriminator_mapping") or {}
    decided = mapping.get(str(node.input_default.get(field.get("discriminator", ""))))
    return {decided} if decided else set(field.get("credentials_provider", ()))


def _credentials_group(providers: list[str], types: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "credentials_provider": providers,
        "credentials_types": types,
        "credentials_scopes": [],
        "discriminator_values": [],
    }


def _unite(known: list[Any], more: Iterable[Any]) -> None:
    known.extend(item for item in more if item not in known)
