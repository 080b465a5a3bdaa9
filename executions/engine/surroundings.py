"""What drivers need of the engine around them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from executions.engine.answers import Question
from executions.engine.batch import Batch
from executions.engine.purse import Purse
from executions.engine.rows import Claim, Committed
from executions.engine.state import Activation
from executions.engine.waits import Wait
from executions.node_tasks import Ending, Part


class Surroundings(Protocol):
    """The engine, as a driver sees it."""

    @property
    def threads(self) -> Executor:
        """Where plain generators run that do more than compute."""

    @property
    def purse(self) -> Purse:
        """Where runs set credits aside."""

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Ask something outside of the run, or find that it was asked before; returns the wait for the answer."""

    async def news_of(self, task_id: str, position: int) -> Part | Ending | None:
        """What a block that runs apart has given from this position on, or how it ended; None if nobody knows."""

    async def answers(self, waits: Sequence[Wait]) -> Mapping[str, Any]:
        """The answers that are there by now, by the id of what was asked."""

    def announce(self, claim: Claim, committed: Committed, batch: Batch) -> None:
        """Something was committed."""
