"""Blocks that only compute: they run within the event loop, one at a time, and share commits."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

from pydantic import BaseModel

from executions.engine.emissions import end, stream_of, suspension_of
from executions.engine.journal import Journal
from executions.engine.state import Activation
from graphs.blocks.base import Suspension

_END = object()


class InPlace:
    """The blocks of one run that have begun in place. The last one begun goes on first: what it gave is wanted next."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._running: list[tuple[Activation, Iterator[Any]]] = []

    def __bool__(self) -> bool:
        return bool(self._running)

    def begin(self, activation: Activation, block_input: BaseModel, run: Callable[[BaseModel], Any]) -> None:
        """Begin a block, which `advance` lets go on."""
        try:
            emissions = stream_of(activation.node.block, run(block_input))
        # A block is foreign code: whatever it raises, even to end the process, is its node's failure.
        except BaseException as error:
            self._journal.fail(activation, error)
        else:
            self._running.append((activation, cast(Iterator[Any], emissions)))

    def advance(self, may_go_on: Callable[[], bool]) -> tuple[Activation, Suspension] | None:
        """Let a block go on until it ends or may not; if it wants to wait, returns the activation and for what."""
        activation, emissions = self._running[-1]
        began = self._loop.time()
        while may_go_on():
            try:
                emission = next(emissions, _END)
                suspension = suspension_of(emission)
            # A block is foreign code: whatever it raises, even to end the process, is its node's failure.
            except BaseException as error:
                self._running.pop()
                self._journal.fail(activation, error)
                return None
            if emission is _END:
                self._running.pop()
                activation.seconds += self._loop.time() - began
                self._journal.complete(activation)
                return None
            if suspension is not None:
                self._running.pop()
                end(emissions)
                return activation, suspension
            if not self._journal.accept(activation, emission):
                self._running.pop()
                end(emissions)
                return None
        activation.seconds += self._loop.time() - began
        return None

    def tell(self) -> None:
        """Those that have begun and not ended are part of the next commit."""
        for activation, _ in self._running:
            if not activation.stored:
                self._journal.tell(activation)

    def clear(self) -> None:
        """Give them all up."""
        while self._running:
            end(self._running.pop()[1])
