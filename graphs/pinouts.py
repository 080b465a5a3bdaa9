"""Which pins a node has: its block's, or for an agent node those of the graph it calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from graphs.blocks.base import Block, Kind
from graphs.blocks.catalogue import input_schema
from graphs.blocks.rules import is_credentials_name


class NodeLike(Protocol):
    """A node: drafted, saved, or as plain data."""

    @property
    def id(self) -> UUID | str:
        """Unique among the nodes of its graph."""

    @property
    def block_id(self) -> str:
        """Which block it places."""

    @property
    def input_default(self) -> Mapping[str, Any]:
        """Constants for its pins."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the editor and the engine know about it besides."""


@dataclass(frozen=True, slots=True)
class Pinout:
    """The pins of a block.

    `needed` are the required inputs that are no credentials; `needs` says which pins must be set beside a pin when it
    is set, `discriminators` which pin decides what credentials a credentials pin takes.
    """

    inputs: frozenset[str]
    outputs: frozenset[str]
    needed: tuple[str, ...]
    credentials: tuple[str, ...]
    preset: frozenset[str]
    needs: Mapping[str, tuple[str, ...]]
    discriminators: Mapping[str, str]
    secret: frozenset[str]


@lru_cache(maxsize=4096)
def pinout(block: Block) -> Pinout:
    """The pins that every node of the block has, by its input and output models."""
    fields = type(block).Input.model_fields
    flags = input_schema(block)["properties"]
    return Pinout(
        inputs=frozenset(fields),
        outputs=frozenset(type(block).Output.model_fields),
        needed=tuple(n for n, field in fields.items() if field.is_required() and not is_credentials_name(n)),
        credentials=tuple(n for n in fields if is_credentials_name(n)),
        preset=frozenset(
            n for n, field in fields.items() if not field.is_required() and field.get_default() is not None
        ),
        needs={n: tuple(flags[n]["depends_on"]) for n in fields if flags[n].get("depends_on")},
        discriminators={n: flags[n]["discriminator"] for n in fields if flags[n].get("discriminator")},
        secret=frozenset(n for n in fields if flags[n].get("secret")),
    )


def input_pins(node: NodeLike, block: Block) -> frozenset[str]:
    """The base names that a link may end at."""
    if block.kind is Kind.AGENT:
        return _stored_pins(node, "input_schema")
    return pinout(block).inputs


def output_pins(node: NodeLike, block: Block) -> frozenset[str]:
    """The base names that a link may start at."""
    if block.kind is Kind.AGENT:
        # A called graph that fails is an error here, whatever its own outputs are.
        return _stored_pins(node, "output_schema") | {"error"}
    return pinout(block).outputs


def _stored_pins(node: NodeLike, key: str) -> frozenset[str]:
    return frozenset(stored_schema(node, key)["properties"])


def stored_schema(node: NodeLike, key: str) -> dict[str, Any]:
    """The `input_schema` or `output_schema` that an agent node keeps of the graph it calls, made whole if it is not."""
    schema = node.input_default.get(key)
    schema = schema if isinstance(schema, Mapping) else {}
    properties, required = schema.get("properties"), schema.get("required")
    return {
        "properties": dict(properties) if isinstance(properties, Mapping) else {},
        "required": [name for name in required if isinstance(name, str)] if isinstance(required, list) else [],
    }
