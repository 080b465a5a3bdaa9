"""The engine of one worker process: an event loop in its own thread that drives many runs at once.

It is told of runs by doorbells (`ring`) and looks for itself every few seconds, so that a lost doorbell, a worker that
died or a timer that is due only cost time.
"""

import asyncio
import logging
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import uvloop
from django.conf import settings
from django.db import DatabaseError
from psycopg import Error, OperationalError
from psycopg_pool import PoolTimeout

from core import http
from core.errors import DomainError
from core.hints import Hints
from core.ids import uuid7
from executions import events, prices, services
from executions.engine.answers import Answers, Question
from executions.engine.batch import Batch
from executions.engine.driver import Driver
from executions.engine.in_thread import in_thread
from executions.engine.intake import Intake
from executions.engine.meter import Meter
from executions.engine.plan import Plan, compile_plan
from executions.engine.purse import Purse
from executions.engine.rows import Claim, Committed
from executions.engine.state import Activation
from executions.engine.store import Store
from executions.engine.sweeps import Sweeps
from executions.engine.waits import Wait
from executions.engine.watchdog import Watchdog
from executions.errors import Fenced
from executions.kinds import Status
from executions.node_tasks import Ending, Part
from executions.prices import Prices
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock
from graphs.services import load_definition

log = logging.getLogger(__name__)

MAX_PLANS = 1000
LOOK_SECONDS = 1.0
DRAIN_SECONDS = 10.0
BLOCK_THREADS = 32
# Parked runs that are due later than this are left to the sweeper.
LONGEST_TIMER = 600.0


class Engine:
    """Drives runs until it is stopped. `ring` and `stop` may be called from any thread."""

    def __init__(self) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid7().hex[-8:]}"
        self.threads = ThreadPoolExecutor(BLOCK_THREADS, thread_name_prefix="block")
        self._loop = uvloop.new_event_loop()
        self._hints = Hints(self._loop)
        self._store = Store(self.owner, settings.DB_POOL_SIZE)
        self.purse = Purse(self._store)
        self._answers = Answers(self._store, self.plan, self._accept)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._drivers: dict[UUID, Driver] = {}
        self._driving: dict[UUID, asyncio.Task[None]] = {}
        self._intake = Intake(Sweeps(self._store), self._driving, self._begin)
        self._plans: OrderedDict[tuple[UUID, int], Plan] = OrderedDict()
        self._prices: dict[int, Prices] = {}
        self._stopping = asyncio.Event()
        self._ready = threading.Event()

    def start(self) -> None:
        """Begin to drive runs, without waiting for Postgres to answer."""
        self._thread.start()

    def watch(self) -> None:
        """End the whole process when the engine hangs for as long as its leases hold."""
        Watchdog(self._loop, self._thread, settings.LEASE_SECONDS).start()

    def ring(self, run_ids: Iterable[UUID]) -> None:
        """These runs may have something to do."""
        self._call(self._accept, list(run_ids))

    def stop(self, grace: float = DRAIN_SECONDS) -> None:
        """Let go of all runs in order, giving blocks under way `grace` seconds, and end."""
        self._call(self._begin_stop, grace)
        self._thread.join(grace + 5)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        # Once the engine is stopped, the runs are others' to find.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _live(self) -> None:
        await self._open_store()
        caretakers = [
            self._loop.create_task(work) for work in (self._look_after(), self._intake.serve(), self._intake.sweep())
        ]
        await self._stopping.wait()
        await asyncio.gather(*self._driving.values(), return_exceptions=True)
        for caretaker in caretakers:
            caretaker.cancel()
        await asyncio.gather(*caretakers, return_exceptions=True)
        await self._store.close()
        await http.close()
        self.threads.shutdown(wait=False, cancel_futures=True)

    async def _open_store(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._store.open()
                return
            except PoolTimeout:
                log.warning("Postgres does not answer; trying again")

    def _begin_stop(self, grace: float) -> None:
        self._intake.close()
        for driver in self._drivers.values():
            driver.drain(grace)
        self._stopping.set()

    # Which runs to drive

    def _accept(self, run_ids: Iterable[UUID]) -> None:
        for run_id in run_ids:
            if run_id in self._drivers:
                self._drivers[run_id].poke()
            elif run_id not in self._driving:
                self._intake.offer([run_id])

    def _begin(self, run_id: UUID) -> None:
        if not self._stopping.is_set() and run_id not in self._driving:
            self._driving[run_id] = self._loop.create_task(self._drive(run_id))

    async def _drive(self, run_id: UUID) -> None:
        claim = None
        try:
            claim = await self._store.claim(run_id)
            if claim is None:
                await self._intake.refused(run_id)
            else:
                await self._drive_claimed(claim)
        except Fenced:
            log.warning("Run %s was taken over by another worker", run_id)
        except (OperationalError, DatabaseError) as error:
            log.warning("Run %s is dropped, the database failed: %s", run_id, error)
        # The driver's own fault must not end the engine; the run is claimed again, a few times at most.
        except Exception:
            log.exception("Run %s is dropped", run_id)
        finally:
            driver = self._drivers.pop(run_id, None)
            self._driving.pop(run_id, None)
            if driver is not None and driver.has_mail:
                self._accept([run_id])
            self._intake.let_go(claim.user_id if claim else None)

    async def _drive_claimed(self, claim: Claim) -> None:
        try:
            plan = await self.plan(claim.graph_id, claim.graph_version)
        except DomainError as error:
            await self._refuse(claim, error)
            return
        driver = Driver(claim, plan, self._store, self)
        if claim.price_version is not None:
            driver.meter(Meter(claim, await self._prices_of(claim.price_version)))
        self._drivers[claim.run_id] = driver
        if self._stopping.is_set():
            driver.drain(0)
        try:
            await driver.drive()
        except UnknownBlock as error:
            # A graph that this run called has it.
            await self._refuse(claim, error)

    async def _refuse(self, claim: Claim, error: DomainError) -> None:
        """Leave a run to processes that know its blocks, or end it when nobody took it for long."""
        if isinstance(error, UnknownBlock) and await self._store.leave(claim):
            log.warning("Run %s is left to other workers: %s", claim.run_id, error)
            self._intake.leave(claim.run_id)
        else:
            await in_thread(services.give_up)(claim.run_id, claim.fence, self.owner, error.code, error.message)

    # What drivers ask for

    async def plan(self, graph_id: UUID, version: int) -> Plan:
        """The plan of a graph version; raises a `DomainError` when this installation cannot run it."""
        key = (graph_id, version)
        if key not in self._plans:
            definition = await in_thread(load_definition)(graph_id, version)
            self._plans[key] = compile_plan(definition, BLOCKS.get)
            if len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]

    async def _prices_of(self, version: int) -> Prices:
        if version not in self._prices:
            self._prices[version] = await in_thread(prices.of)(version)
        return self._prices[version]

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Ask something outside of the run, or find that it was asked before; returns the wait for the answer."""
        return await self._answers.ask(claim, activation, question)

    async def news_of(self, task_id: str, position: int) -> Part | Ending | None:
        """What a block that runs apart has given from this position on, or how it ended; None if nobody knows."""
        return await self._answers.news_of(task_id, position)

    async def answers(self, waits: Sequence[Wait]) -> dict[str, Any]:
        """The answers that are there by now, by the id of what was asked."""
        return await self._answers.find(waits)

    def announce(self, claim: Claim, committed: Committed, batch: Batch) -> None:
        """Tell whoever watches, and the parent run if it now has something to look at."""
        has_turned = batch.status is not Status.RUNNING or any(
            event.node_execution_id is None for event in batch.events
        )
        if batch.events or has_turned:
            news = events.event_of(claim.run_id, committed.head_seq)
            if has_turned:
                news = {**news, **events.turn_of(claim.user_id, claim.graph_id, {claim.run_id: committed.head_seq})}
            self._hints.send(events.group(claim.user_id), news)
        if committed.is_crowded:
            self._intake.crowd(claim.user_id)
        if committed.woken is not None:
            self._accept([committed.woken])
        if committed.wakes_in is not None and committed.wakes_in < LONGEST_TIMER:
            self._loop.call_later(committed.wakes_in, self._accept, [claim.run_id])

    # Looking after runs

    async def _look_after(self) -> None:
        """Renew leases and notice what happened from outside."""
        renewed_at = self._loop.time()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            held = {run_id: driver.claim.fence for run_id, driver in self._drivers.items()}
            if not held:
                continue
            try:
                if self._loop.time() - renewed_at >= settings.LEASE_SECONDS / 3:
                    await self._store.renew(held)
                    renewed_at = self._loop.time()
                for run_id, seen in (await self._store.look(held)).items():
                    driver = self._drivers.get(run_id)
                    if driver is not None and driver.claim.fence == held[run_id]:
                        driver.see(seen["wakes"], cancelled=seen["cancelled"])
            except Error as error:
                log.warning("Leases could not be looked after: %s", error)
