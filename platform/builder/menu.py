"""The blocks of this installation as the menu sorts them. What it says of them never changes while a process lives."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any

from builder.relevance import LEAST, Extra, relevance
from graphs.blocks.base import Block, Kind
from graphs.blocks.catalogue import describe, input_schema
from graphs.offer import offered
from graphs.pinouts import pinout

Json = dict[str, Any]
_PLUMBING = (Kind.INPUT, Kind.OUTPUT, Kind.AGENT)


class BlockType(StrEnum):
    """What the menu has drawers for; an action is what neither brings values in, nor takes them out, nor calls."""

    ALL = "all"
    INPUT = "input"
    ACTION = "action"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Entry:
    """A block in the menu: `info` is what clients get, `providers` are those whose credentials it takes."""

    id: str
    name: str
    kind: Kind
    categories: frozenset[str]
    providers: frozenset[str]
    models: tuple[str, ...]
    info: Json

    @property
    def is_integration(self) -> bool:
        """Whether it works with somebody's account at another service."""
        return bool(self.providers)

    @property
    def is_action(self) -> bool:
        """Whether it is an action."""
        return self.kind not in _PLUMBING

    def is_of(self, type_: BlockType) -> bool:
        """Whether it lies in this drawer."""
        match type_:
            case BlockType.INPUT:
                return self.kind is Kind.INPUT
            case BlockType.OUTPUT:
                return self.kind is Kind.OUTPUT
            case BlockType.ACTION:
                return self.is_action
            case BlockType.ALL:
                return True


@cache
def entries() -> tuple[Entry, ...]:
    """Every block that can be placed, by name."""
    return tuple(_entry(block) for block in offered())


def placed_by(ids: Iterable[str]) -> list[Entry]:
    """The blocks with these ids in their order; unknown ones are left out."""
    known = {entry.id: entry for entry in entries()}
    return [known[block_id] for block_id in ids if block_id in known]


def categories(samples: int) -> list[Json]:
    """Each category with the number of its blocks and the first of them, by name."""
    found: dict[str, list[Entry]] = {}
    for entry in entries():
        for category in entry.categories:
            found.setdefault(category, []).append(entry)
    return [
        {"name": name, "total_blocks": len(among), "blocks": [entry.info for entry in among[:samples]]}
        for name, among in sorted(found.items())
    ]


def providers() -> list[Json]:
    """Each provider with the number of its blocks, by name."""
    found: dict[str, int] = {}
    for entry in entries():
        for provider in entry.providers:
            found[provider] = found.get(provider, 0) + 1
    return [
        {"name": name, "description": f"Blocks that work with your account at {name}.", "integration_count": count}
        for name, count in sorted(found.items())
    ]


def counts() -> dict[str, int]:
    """How many blocks there are of each type."""
    return {
        "all_blocks": len(entries()),
        "input_blocks": sum(entry.is_of(BlockType.INPUT) for entry in entries()),
        "action_blocks": sum(entry.is_action for entry in entries()),
        "output_blocks": sum(entry.is_of(BlockType.OUTPUT) for entry in entries()),
        "integrations": len(providers()),
    }


@lru_cache(maxsize=512)
def ranked(query: str) -> tuple[tuple[float, Entry], ...]:
    """The blocks that fit a query with their points; all of them, with none, for an empty one."""
    if not query:
        return tuple((0.0, entry) for entry in entries())
    scored = ((_points(entry, query), entry) for entry in entries())
    return tuple((points, entry) for points, entry in scored if points >= LEAST)


def _points(entry: Entry, query: str) -> float:
    extras = [Extra(category, 12, 6) for category in sorted(entry.categories)]
    extras += [Extra(provider, 15, 6) for provider in sorted(entry.providers)]
    return relevance(query, entry.name, entry.info["description"], extras, entry.models)


def _entry(block: Block) -> Entry:
    pins = input_schema(block)["properties"]
    providers_of = (pins[pin].get("credentials_provider", ()) for pin in pinout(block).credentials)
    return Entry(
        id=block.id,
        name=block.name,
        kind=block.kind,
        categories=frozenset(category.value.lower() for category in block.categories),
        providers=frozenset(provider for named in providers_of for provider in named),
        models=tuple(str(value) for value in pins.get("model", {}).get("enum", ())),
        info=describe(block),
    )
