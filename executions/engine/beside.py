"""What goes on beside a driver: blocks that do more than compute, and questions asked outside of the run.

Each is a task of the event loop; what comes of it arrives in the driver's mailbox.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from core.errors import DomainError
from executions.engine.answers import Question, RunApart
from executions.engine.follower import follow, tell_end
from executions.engine.mailbox import Broken, Called, Ended, Mailbox, Silent
from executions.engine.rows import Claim
from executions.engine.runner import LAST_SECONDS, run_block, was_done
from executions.engine.state import Activation
from executions.engine.surroundings import Surroundings
from executions.engine.waits import Waits
from graphs.blocks.base import Context, Effect

MAX_TASKS = 128


class Beside:
    """The tasks of one run, by activation."""

    def __init__(self, claim: Claim, waits: Waits, mailbox: Mailbox, surroundings: Surroundings) -> None:
        self._claim = claim
        self._waits = waits
        self._mailbox = mailbox
        self._surroundings = surroundings
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        # Of these the last attempt was lost, and their blocks can find out whether it had its effect.
        self._in_doubt: set[UUID] = set()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def has_room(self, more: int) -> bool:
        """Whether a block may begin when `more` are about to; one that waits for room in the mailbox does not count."""
        return len(self._tasks) + more - self._mailbox.blocked < MAX_TASKS

    def doubt(self, activation: Activation) -> None:
        """Nobody knows whether the activation's last attempt had its effect, but its block can tell."""
        self._in_doubt.add(activation.id)

    def run(self, activation: Activation, block_input: BaseModel, context: Context) -> None:
        """Run a block whose intent is committed, here or apart."""
        self._begin(activation, self._run(activation, block_input, context))

    def ask(self, activation: Activation, question: Question, **marks: Any) -> None:
        """Ask something outside of the run; `marks` go with the wait."""
        self._begin(activation, self._ask(activation, question, **marks))

    def cancel(self, activation: Activation) -> None:
        """What the activation's block gives is of no use any more."""
        # A block in a thread cannot be stopped, and nobody waits for its end.
        self._tasks.pop(activation.id).cancel()

    def settle(self, activation: Activation) -> None:
        """The driver has taken up what came of the activation's task."""
        self._tasks.pop(activation.id, None)

    async def abandon(self) -> None:
        """Give everything up; blocks that would not end are left to themselves."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=LAST_SECONDS)
        self._tasks.clear()

    def _begin(self, activation: Activation, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[activation.id] = asyncio.get_running_loop().create_task(work)

    async def _run(self, activation: Activation, block_input: BaseModel, context: Context) -> None:
        task_id = self._waits.task_of(activation)
        news = None
        try:
            if task_id is not None:
                news = await follow(activation, task_id, self._surroundings.news_of, self._mailbox)
        # Not the block's failure: the driver gives the run up, and whoever claims it next looks again.
        except Exception as error:
            self._mailbox.put(Broken(error))
            return
        if isinstance(news, Silent):
            self._mailbox.put(news)
            return
        is_lost = news is not None and news.is_lost
        if activation.id in self._in_doubt or (is_lost and activation.node.block.effect is Effect.VERIFIABLE):
            self._in_doubt.discard(activation.id)
            if await was_done(activation, block_input, context, self._mailbox):
                return
            news = None
        if news is not None:
            tell_end(activation, news, self._mailbox)
        elif activation.node.is_isolated:
            decision = self._waits.permission_of(activation)
            await self._ask(activation, RunApart(context, None if decision is None else decision.data))
        else:
            await run_block(activation, block_input, context, self._mailbox, self._surroundings.threads)

    async def _ask(self, activation: Activation, question: Question, **marks: Any) -> None:
        try:
            wait = await self._surroundings.ask(self._claim, activation, question)
            self._mailbox.put(Called(activation, {**wait, **marks}))
        except DomainError as error:
            self._mailbox.put(Ended(activation, error=error))
        # Not the block's failure: the driver gives the run up, and whoever claims it next asks again.
        except Exception as error:
            self._mailbox.put(Broken(error))
