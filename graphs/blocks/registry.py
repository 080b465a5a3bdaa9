"""All blocks of this installation: the platform's own and those of third-party packages.

A package offers blocks through the entry point group `taskloom.blocks`. The entry point names a module (every block
among its attributes counts), a block class, an iterable of block classes, or a function without arguments that
returns one of these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from graphs.blocks.base import Block
from graphs.blocks.catalogue import describe
from graphs.blocks.rules import violations
from graphs.errors import UnknownBlock

GROUP = "taskloom.blocks"
OWN_MODULES = (
    "graphs.blocks.agents",
    "graphs.blocks.clock",
    "graphs.blocks.dictionaries",
    "graphs.blocks.documents",
    "graphs.blocks.interface",
    "graphs.blocks.lists",
    "graphs.blocks.logic",
    "graphs.blocks.patterns",
    "graphs.blocks.review",
    "graphs.blocks.sampling",
    "graphs.blocks.stored_files",
    "graphs.blocks.templates",
    "graphs.blocks.text",
    "graphs.blocks.triggers",
    "graphs.blocks.values",
    "graphs.blocks.web",
)

Offer = tuple[str, type[Block]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a package or a block was left out."""

    source: str
    message: str
    hint: str


class Unusable(Exception):
    """A block cannot be used; the message says why."""


class Registry:
    """Blocks by id, loaded at the first question. What cannot be used is left out and listed in `problems`."""

    def __init__(self, own_modules: Iterable[str] = OWN_MODULES, packages: Iterable[EntryPoint] | None = None) -> None:
        """Offer the blocks of `own_modules` and of `packages` (by default, of every installed one)."""
        self._own_modules = tuple(own_modules)
        self._packages = packages

    def get(self, block_id: str) -> Block:
        """The block with this id; raises `UnknownBlock`."""
        try:
            return self._loaded[0][block_id]
        except KeyError:
            raise UnknownBlock(f"There is no block {block_id!r}", block_id=block_id) from None

    def all(self) -> tuple[Block, ...]:
        """Every usable block, ordered by name."""
        return self._by_name

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was left out."""
        return self._loaded[1]

    @cached_property
    def _by_name(self) -> tuple[Block, ...]:
        return tuple(sorted(self._loaded[0].values(), key=lambda block: (block.name, block.id)))

    @cached_property
    def _loaded(self) -> tuple[dict[str, Block], tuple[Problem, ...]]:
        blocks: dict[str, Block] = {}
        problems: list[Problem] = []
        for source, offered in self._offers(problems):
            try:
                _add(offered, blocks)
            except Unusable as reason:
                message = f"Block {offered.__module__}.{offered.__qualname__} was left out: {reason}"
                problems.append(Problem(source, message, "docs/blocks.md lists the rules for a block."))
        return blocks, tuple(problems)

    def _offers(self, problems: list[Problem]) -> Iterator[Offer]:
        for name in self._own_modules:
            for offered in _blocks_in(import_module(name)):
                yield name, offered
        for package in entry_points(group=GROUP) if self._packages is None else self._packages:
            source = f"{package.name} = {package.value}"
            try:
                found = list(_blocks_in(package.load()))
            # Foreign code may fail in any way, and the platform must start without it.
            except Exception as error:
                message = f"The block package {source} cannot be loaded: {type(error).__name__}: {error}"
                problems.append(Problem(source, message, "Repair or uninstall the package that declares it."))
            else:
                for offered in found:
                    yield source, offered


def _add(offered: type[Block], blocks: dict[str, Block]) -> None:
    wrong = violations(offered)
    if wrong:
        raise Unusable("; ".join(wrong))
    known = blocks.get(offered.id)
    if type(known) is offered:
        return
    if known is not None:
        raise Unusable(f"its id {offered.id} is already taken by {type(known).__module__}.{known.name}")
    try:
        block = offered()
        # A pin without a JSON schema would otherwise break the whole catalogue.
        describe(block)
    except Exception as error:
        raise Unusable(f"{type(error).__name__}: {error}") from error
    blocks[block.id] = block


def _blocks_in(offer: Any) -> Iterator[type[Block]]:
    if isinstance(offer, ModuleType):
        offer = [value for value in vars(offer).values() if _is_block(value) and "id" in vars(value)]
    elif callable(offer) and not isinstance(offer, type):
        yield from _blocks_in(offer())
        return
    for block in [offer] if isinstance(offer, type) else offer:
        if not _is_block(block):
            raise TypeError(f"{block!r} is not a Block class")
        yield block


def _is_block(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Block) and value is not Block


BLOCKS = Registry()
