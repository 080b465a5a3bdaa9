"""A worker process in slow motion: the engine's store, drivers and answers, which go on only when they are told to."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from enum import Enum, auto
from typing import Any
from uuid import UUID

from psycopg import OperationalError

from executions.engine.answers import Answers, Question
from executions.engine.batch import Batch
from executions.engine.driver import Driver
from executions.engine.meter import Meter
from executions.engine.plan import Plan, compile_plan
from executions.engine.purse import Purse
from executions.engine.rows import Claim, Committed, History
from executions.engine.state import Activation
from executions.engine.store import Store
from executions.engine.sweeps import Sweeps
from executions.engine.waits import Wait
from executions.errors import Fenced
from executions.node_tasks import Ending, Part
from executions.prices import Prices
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition

PATIENCE = 5.0
LIMIT = 100


class Order(Enum):
    """What becomes of a driver that halts before it reads or writes."""

    GO = auto()
    # It writes, and halts once more before it does anything else.
    PAUSE = auto()
    # Its connection breaks: before anything is written, or when it was written and nobody hears of it.
    LOSE = auto()
    FORGET = auto()


class HaltingStore(Store):
    """A store that halts each driver before it reads or commits. `wrote` hears of writes: run, fence, owner."""

    def __init__(self, owner: str, wrote: Callable[[UUID, int, str], None]) -> None:
        super().__init__(owner, size=2)
        self.halted: dict[UUID, asyncio.Future[Order]] = {}
        self.news = asyncio.Event()
        self.is_free = False
        self._wrote = wrote

    async def claim(self, run_id: UUID) -> Claim | None:
        """Claim at once."""
        claim = await super().claim(run_id)
        if claim is not None:
            self._wrote(run_id, claim.fence, self.owner)
        return claim

    async def commit(self, claim: Claim, wakes: int, batch: Batch) -> Committed:
        """Halt, then commit."""
        order = await self._halt(claim.run_id)
        committed = await super().commit(claim, wakes, batch)
        self._wrote(claim.run_id, claim.fence, self.owner)
        if order is Order.FORGET:
            raise OperationalError("the answer was lost")
        if order is Order.PAUSE:
            await self._halt(claim.run_id)
        return committed

    async def history(self, run_id: UUID, nodes: Sequence[UUID], static_nodes: Sequence[UUID]) -> History:
        """Halt, then read."""
        await self._halt(run_id)
        return await super().history(run_id, nodes, static_nodes)

    async def _halt(self, run_id: UUID) -> Order:
        if self.is_free:
            return Order.GO
        self.halted[run_id] = asyncio.get_running_loop().create_future()
        self.news.set()
        order = await self.halted[run_id]
        if order is Order.LOSE:
            raise OperationalError("the connection broke")
        return order


class Worker:
    """One process: it takes up runs and drives each until it halts. `ring` is where its doorbells go."""

    def __init__(
        self, name: str, wrote: Callable[[UUID, int, str], None], ring: Callable[[Sequence[UUID]], None]
    ) -> None:
        self.store = HaltingStore(name, wrote)
        self.faults: list[BaseException] = []
        self._ring = ring
        self._sweeps = Sweeps(self.store)
        self.purse = Purse(self.store)
        self._answers = Answers(self.store, self.plan, ring)
        self._threads = ThreadPoolExecutor(1)
        self._drivers: dict[UUID, Driver] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._asking = 0

    # What happens to it

    async def take(self, run_ids: Iterable[UUID]) -> None:
        """Its doorbell rings for these runs."""
        for run_id in run_ids:
            if run_id in self._drivers:
                self._drivers[run_id].poke()
            elif run_id not in self._tasks:
                self._tasks[run_id] = asyncio.get_running_loop().create_task(self._drive(run_id))
            # One after the other: what two do at once could not be repeated.
            await self.settle()

    async def go_on(self, run_id: UUID, order: Order) -> None:
        """Let the halted driver of a run go on until it halts again."""
        self.store.halted.pop(run_id).set_result(order)
        await self.settle()

    async def go_free(self) -> None:
        """Halt no more."""
        self.store.is_free = True
        for run_id in sorted(self.store.halted):
            await self.go_on(run_id, Order.GO)

    async def look_after(self) -> None:
        """Renew the leases of its runs, and see what happened to them from outside."""
        held = {run_id: driver.claim.fence for run_id, driver in self._drivers.items()}
        await self.store.renew(held)
        for run_id, seen in (await self.store.look(held)).items():
            self._drivers[run_id].see(seen["wakes"], cancelled=seen["cancelled"])

    async def sweep(self) -> None:
        """Look for runs that nobody told it of."""
        await self._sweeps.cancel_orphans()
        await self._sweeps.wake_due()
        await self._sweeps.wake_funded()
        found = await self._sweeps.lapsed(list(self._tasks), LIMIT)
        found += await self._sweeps.queued(list(self._tasks), LIMIT, patience=0)
        await self.take([each.run_id for each in found])

    async def die(self) -> None:
        """Be gone, without a word to anybody."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.store.close()
        self._threads.shutdown(wait=False)

    async def settle(self) -> None:
        """Wait until each of its drivers has halted or let go."""
        async with asyncio.timeout(PATIENCE):
            while self._asking or self._tasks.keys() - self.store.halted.keys():
                self.store.news.clear()
                await self.store.news.wait()

    # What it does, as the engine does

    async def _drive(self, run_id: UUID) -> None:
        try:
            claim = await self.store.claim(run_id)
            if claim is not None:
                driver = Driver(claim, await self.plan(claim.graph_id, claim.graph_version), self.store, self)
                if claim.price_version is not None:
                    driver.meter(Meter(claim, Prices({}, {})))
                self._drivers[run_id] = driver
                await driver.drive()
        except (Fenced, OperationalError):
            pass
        except Exception as fault:
            self.faults.append(fault)
        finally:
            driver_gone = self._drivers.pop(run_id, None)
            self._tasks.pop(run_id, None)
            self.store.halted.pop(run_id, None)
            if driver_gone is not None and driver_gone.has_mail:
                self._ring([run_id])
            self.store.news.set()

    @property
    def threads(self) -> Executor:
        """Where plain generators run."""
        return self._threads

    async def plan(self, graph_id: UUID, version: int) -> Plan:
        """The plan of a graph, of which there is one version."""
        return PLANS[graph_id]

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Ask something outside of the run."""
        self._asking += 1
        try:
            return await self._answers.ask(claim, activation, question)
        finally:
            self._asking -= 1
            self.store.news.set()

    async def news_of(self, task_id: str, position: int) -> Part | Ending | None:
        """What a block gives that runs apart; none does here."""
        return await self._answers.news_of(task_id, position)

    async def answers(self, waits: Sequence[Wait]) -> dict[str, Any]:
        """The answers that are there by now."""
        return await self._answers.find(waits)

    def announce(self, claim: Claim, committed: Committed, batch: Batch) -> None:
        """Whoever waits for the run is told, if the bell is heard."""
        if committed.woken is not None:
            self._ring([committed.woken])


PLANS: dict[UUID, Plan] = {}


def know(definition: GraphDefinition) -> None:
    """Let every worker know this graph."""
    PLANS[definition.id] = compile_plan(definition, BLOCKS.get)
