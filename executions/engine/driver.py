"""One run, driven: ready nodes are run, what they give is committed, and when nothing is left the run parks or ends.

The driver owns the run from its claim on. Blocks that only compute run in place, one after the other, and share
commits; the others run beside each other as tasks, each after its intent was committed. Anything unexpected, a lost
database or a lost lease, makes the driver drop everything: the rows say where another takes over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast
from uuid import UUID

from pydantic import BaseModel

from core import json
from core.errors import DomainError
from executions.engine.assembly import input_of
from executions.engine.batch import Batch, EventRow
from executions.engine.history import children_of, outputs_before, restore
from executions.engine.plan import Plan
from executions.engine.rows import Claim, Committed
from executions.engine.runner import Broken, Called, Emitted, Ended, Mailbox, Poked, run_block
from executions.engine.state import Activation, Output, RunState
from executions.engine.store import Store
from executions.errors import OverLimit
from executions.kinds import EventKind, NodeStatus, Status
from graphs.blocks.base import BlockError, CallGraph, ChildResult, Context, Effect, Suspension
from graphs.blocks.inputs import check_output, prepare

log = logging.getLogger(__name__)

MAX_ROWS = 500
MAX_DELAY = 0.05
STREAM_DELAY = 0.02
MAX_TASKS = 128
MAX_BACKLOG = 256
MAX_CLAIMS = 5
MAX_ERROR = 10_000
PARK_AFTER = 1.0
UNKNOWN_OUTCOME = "The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"
_SCALARS = (str, int, float, bool, type(None))


class Surroundings(Protocol):
    """What a driver needs of the engine around it."""

    @property
    def threads(self) -> Executor:
        """Where plain generators run that do more than compute."""

    async def plan(self, graph_id: UUID, version: int) -> Plan:
        """The plan of a graph version; raises a `DomainError` when this installation cannot run it."""

    async def start_child(self, claim: Claim, call: CallGraph, trigger_key: str) -> UUID:
        """Start a run for a node of the claimed run, or find the one that was started with the same key."""

    def announce(self, claim: Claim, committed: Committed, batch: Batch) -> None:
        """Something was committed."""


class Driver:
    """Drives one claimed run until it ends, parks, is released or is lost."""

    def __init__(self, claim: Claim, plan: Plan, store: Store, surroundings: Surroundings) -> None:
        self.claim = claim
        self._plan = plan
        self._store = store
        self._surroundings = surroundings
        self._loop = asyncio.get_running_loop()
        self._clock_skew = claim.now - datetime.now(UTC)
        self._state = RunState(plan)
        self._batch = Batch()
        self._mailbox = Mailbox()
        # How often the run was woken by the last look at its row, and by the last look at its children.
        self._wakes = claim.wakes
        self._wakes_answered = claim.wakes
        self._cancelled = claim.cancelled
        self._drain_until: float | None = None
        self._flushed_at = self._loop.time()
        self._live: dict[UUID, Activation] = {}
        self._begun = 0
        self._in_place: list[tuple[Activation, Iterator[Any]]] = []
        self._queued: deque[Activation] = deque()
        self._admitted: list[tuple[Activation, BaseModel]] = []
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._waiting: dict[UUID, Activation] = {}
        self._children: dict[UUID, ChildResult] = {}
        self._room_owed = 0

    def poke(self) -> None:
        """A child run may have ended; called from the loop."""
        self._mailbox.put(Poked())

    def see(self, wakes: int, *, cancelled: bool) -> None:
        """What the run's row says by now; called from the loop."""
        if cancelled or wakes != self._wakes:
            self._cancelled |= cancelled
            self._wakes = wakes
            self.poke()

    @property
    def has_mail(self) -> bool:
        """Whether something came that the driver has not looked at: of one that has parked, the run is ready again."""
        return self._mailbox.has_mail

    def drain(self, grace: float) -> None:
        """Let go of the run soon: blocks under way get `grace` seconds. Called from the loop."""
        self._drain_until = self._loop.time() + grace
        self.poke()

    async def drive(self) -> None:
        """Drive the run until it is not ours any more; raises `Fenced` when another took it over."""
        try:
            if self.claim.claims > MAX_CLAIMS:
                await self._recall()
                await self._break_off(
                    Status.FAILED, "crash_loop", f"Given up after {MAX_CLAIMS} claims without progress"
                )
                return
            await self._take_up()
            while not await self._step():
                pass
        except OverLimit as limit:
            await self._break_off(Status.FAILED, limit.kind, limit.message)
        finally:
            await self._abandon_tasks()

    async def _step(self) -> bool:
        """One round; true when the run is not ours any more."""
        if self._cancelled:
            await self._break_off(Status.TERMINATED)
            return True
        if self.claim.deadline_at is not None and self._now() >= self.claim.deadline_at:
            raise OverLimit("deadline_exceeded", "The run did not end by its deadline")
        if self._drain_until is not None and (not self._tasks or self._loop.time() >= self._drain_until):
            await self._release()
            return True
        await self._work()
        if self._is_ending and not self._tasks:
            return False
        if self._tasks or self._admitted or self._wakes_soon():
            if self._admitted or (len(self._batch) and not self._may_linger()):
                await self._flush()
            await self._listen()
            return False
        if self._waiting:
            return await self._park()
        self._batch.stalled = [
            {"node_id": str(node_id), "missing": sorted(pins)} for node_id, pins in self._state.stalled().items()
        ]
        self._batch.end(Status.COMPLETED)
        await self._flush()
        return True

    # Taking a run up

    async def _take_up(self) -> None:
        # Each activation that was taken over from another run brought one event.
        if self.claim.head_seq == 1 + self.claim.node_count:
            self._batch.events.append(EventRow(EventKind.RUN_STARTED))
        if self.claim.fence == 1:
            self._state.start()
            return
        activations = await self._recall()
        await self._learn_of_children(children_of(activations))
        for activation in activations:
            if activation.status is NodeStatus.WAITING:
                self._waiting[activation.id] = activation
            else:
                self._run_again(activation)
        self._resume_ready()

    async def _recall(self) -> list[Activation]:
        """Build the state again from the rows; returns the activations that began and have not ended."""
        activations = restore(self._state, await self._store.history(self.claim.run_id, self._plan.static_nodes))
        self._live = {activation.id: activation for activation in activations}
        self._begun = self.claim.node_count + len(activations)
        return activations

    def _run_again(self, activation: Activation) -> None:
        """The worker that ran this activation is gone."""
        if activation.node.block.effect is Effect.UNSAFE:
            self._fail(activation, BlockError(UNKNOWN_OUTCOME))
            return
        activation.attempt += 1
        activation.skip = activation.output_count - outputs_before(activation)
        self._dispatch(activation)

    # Working off what is ready

    async def _work(self) -> None:
        """Run what can run without waiting. What is not committed yet afterwards goes with the commit that follows."""
        while True:
            if self._in_place and self._backlog < MAX_BACKLOG:
                self._advance()
            elif self._state.ready:
                self._dispatch(self._state.ready.popleft())
            elif self._is_ending or not self._admit():
                break
            if len(self._batch) >= MAX_ROWS or self._loop.time() - self._flushed_at > MAX_DELAY:
                await self._flush()
                if self._is_ending:
                    return
        if self._room_owed and self._backlog < MAX_BACKLOG:
            self._mailbox.give_room(self._room_owed)
            self._room_owed = 0

    @property
    def _is_ending(self) -> bool:
        return self._cancelled or self._drain_until is not None

    @property
    def _backlog(self) -> int:
        return len(self._state.ready) + len(self._queued)

    def _may_linger(self) -> bool:
        """Whether more is likely to come soon that can share the commit."""
        return bool(self._tasks) and self._loop.time() - self._flushed_at < STREAM_DELAY

    def _dispatch(self, activation: Activation) -> None:
        if not activation.node.runs_in_place:
            self._queued.append(activation)
            return
        self._begin(activation)
        block_input = self._prepare(activation)
        if block_input is not None:
            emissions = activation.node.block.run(block_input, self._context(activation))
            self._in_place.append((activation, cast(Iterator[Any], emissions)))

    def _begin(self, activation: Activation) -> None:
        """Consume the activation's values, unless it had begun before."""
        if activation.started_at is None:
            if self._begun >= self.claim.node_budget:
                node, times = self._state.busiest()
                message = f"The run began {self._begun} activations, its budget; {times} of {node.block.name} {node.id}"
                raise OverLimit("node_budget_exceeded", message)
            self._begun += 1
            activation.started_at = self._now()
            self._live[activation.id] = activation
            self._state.begin(activation)

    def _prepare(self, activation: Activation) -> BaseModel | None:
        """The block's input, or None when the values do not fit, which fails the activation."""
        try:
            if activation.input_data is None:
                activation.input_data = activation.values
                activation.input_data = input_of(activation, self.claim.inputs, self.claim.nodes_input_masks)
            return prepare(activation.node.block, activation.input_data)
        except (BlockError, DomainError) as error:
            self._fail(activation, error)
            return None

    def _advance(self) -> None:
        """Take one emission of the block that runs in place."""
        activation, emissions = self._in_place[-1]
        try:
            emission = next(emissions)
        except StopIteration:
            self._in_place.pop()
            self._complete(activation)
        # A block is foreign code: whatever it raises is its node's failure, not the worker's.
        except Exception as error:
            self._in_place.pop()
            self._fail(activation, error)
        else:
            if isinstance(emission, Suspension):
                self._in_place.pop()
                self._suspend(activation, emission)
            elif not self._accept(activation, emission):
                self._in_place.pop()

    def _admit(self) -> bool:
        """Record the intents of as many queued activations as may run now; whether something became ready by it."""
        while self._queued and len(self._tasks) + len(self._admitted) - self._mailbox.blocked < MAX_TASKS:
            activation = self._queued.popleft()
            self._begin(activation)
            block_input = self._prepare(activation)
            if block_input is not None:
                self._batch.tell(activation)
                self._admitted.append((activation, block_input))
        return bool(self._state.ready)

    # What blocks give

    def _accept(self, activation: Activation, emission: Any) -> bool:
        """Take one (pin, value) pair; whether the block may go on."""
        try:
            pin, value = _pair(emission)
            check_output(activation.node.block, pin, value)
            if activation.skip:
                activation.skip -= 1
            else:
                self._give(activation, pin, value)
        except (BlockError, DomainError) as error:
            self._fail(activation, error)
            return False
        return True

    def _give(self, activation: Activation, pin: str, value: Any) -> None:
        encoded = json.encode(value)
        # Behind this pin everybody sees what the row holds, not an object that the block may still change.
        seen = value if type(value) in _SCALARS else json.decode(encoded)
        output = Output(activation.output_count, pin, seen, encoded)
        self._state.emit(activation, output)
        self._batch.add_output(activation, output)

    def _complete(self, activation: Activation) -> None:
        activation.status = NodeStatus.COMPLETED
        self._close(activation)

    def _fail(self, activation: Activation, error: BaseException) -> None:
        if not isinstance(error, (BlockError, DomainError)):
            log.warning("%s failed in run %s", activation.node.block.name, self.claim.run_id, exc_info=error)
        activation.error = _explain(error)
        activation.status = NodeStatus.FAILED
        self._give(activation, "error", activation.error)
        self._close(activation)

    def _retry_or_fail(self, activation: Activation, error: BaseException) -> None:
        """Wait for the next attempt if the node's policy has one left; the outputs so far stay given."""
        pause = activation.node.policy.retry.pause_after(activation.attempt)
        if pause is None:
            self._fail(activation, error)
            return
        until = self._now() + timedelta(seconds=pause)
        wait = {"until": until.isoformat(), "retry": _explain(error), "outputs": outputs_before(activation)}
        self._wait_for(activation, wait)

    def _close(self, activation: Activation) -> None:
        activation.ended_at = self._now()
        self._live.pop(activation.id, None)
        self._batch.finish(activation)
        for moved in self._state.close(activation):
            self._batch.note(moved)

    def _suspend(self, activation: Activation, suspension: Suspension) -> None:
        if isinstance(suspension, CallGraph):
            self._batch.tell(activation)
            self._tasks[activation.id] = self._loop.create_task(self._call(activation, suspension))
        else:
            until = self._now() + timedelta(seconds=max(0.0, suspension.seconds))
            self._wait_for(activation, {"until": until.isoformat(), "outputs": activation.output_count})

    async def _call(self, activation: Activation, call: CallGraph) -> None:
        """Start a child run; the key makes a second start find the first."""
        key = f"{self.claim.run_id}:{activation.node.id}:{activation.ordinal}:{len(activation.waits)}"
        try:
            self._mailbox.put(Called(activation, await self._surroundings.start_child(self.claim, call, key)))
        except DomainError as error:
            self._mailbox.put(Ended(activation, error=error))
        # Not the block's failure: the driver gives the run up, and whoever claims it next calls again.
        except Exception as error:
            self._mailbox.put(Broken(error))

    def _wait_for(self, activation: Activation, wait: dict[str, Any]) -> None:
        activation.waits.append(wait)
        activation.status = NodeStatus.WAITING
        self._waiting[activation.id] = activation
        self._batch.tell(activation)

    # Waiting

    async def _listen(self) -> None:
        """Wait for blocks, timers and pokes, and take up what they bring."""
        emissions = 0
        for message in await self._mailbox.take(self._patience()):
            if isinstance(message, Broken):
                raise message.error
            emissions += isinstance(message, Emitted)
            await self._receive(message)
        self._room_owed += emissions
        self._resume_ready()

    def _patience(self) -> float | None:
        """How long to wait for a message before there is something else to do; None is for ever."""
        limits = [(until - self._now()).total_seconds() for until in self._alarms()]
        if len(self._batch):
            limits.append(STREAM_DELAY)
        if self._drain_until is not None:
            limits.append(self._drain_until - self._loop.time())
        if self.claim.deadline_at is not None:
            limits.append((self.claim.deadline_at - self._now()).total_seconds())
        return max(0.0, min(limits)) if limits else None

    async def _receive(self, message: Emitted | Ended | Called | Poked) -> None:
        if isinstance(message, Poked):
            await self._look_at_children()
            return
        activation = message.activation
        if isinstance(message, Emitted):
            if activation.is_closed or message.attempt != activation.attempt:
                return
            if not self._accept(activation, message.emission):
                self._tasks[activation.id].cancel()
            return
        self._tasks.pop(activation.id, None)
        if activation.is_closed:
            return
        if isinstance(message, Called):
            self._wait_for(activation, {"child": str(message.run_id), "outputs": activation.output_count})
            if self.claim.fence > 1:
                # A child that was called before the worker was lost may have ended since: nobody tells of it again.
                await self._look_at_children()
        elif message.suspension is not None:
            self._suspend(activation, message.suspension)
        elif message.error is not None:
            self._retry_or_fail(activation, message.error)
        else:
            self._complete(activation)

    async def _look_at_children(self) -> None:
        self._wakes_answered = self._wakes
        await self._learn_of_children(children_of(list(self._waiting.values())))

    async def _learn_of_children(self, run_ids: list[UUID]) -> None:
        unknown = [run_id for run_id in run_ids if run_id not in self._children]
        for row in await self._store.finished(unknown) if unknown else []:
            plan = await self._surroundings.plan(row["graph_id"], row["graph_version"])
            outputs = await self._store.outputs_of(row["id"], plan.output_nodes)
            self._children[row["id"]] = ChildResult(row["id"], row["status"], tuple(outputs), row["error"])

    def _resume_ready(self) -> None:
        """Run on the activations whose wait is over."""
        now = self._now()
        for activation in list(self._waiting.values()):
            wait = activation.waits[-1]
            over = UUID(wait["child"]) in self._children if "child" in wait else _time(wait["until"]) <= now
            if over:
                del self._waiting[activation.id]
                activation.status = NodeStatus.RUNNING
                activation.attempt += "retry" in wait
                activation.skip = activation.output_count - outputs_before(activation)
                self._batch.note(activation)
                self._dispatch(activation)

    def _alarms(self) -> list[datetime]:
        return [_time(a.waits[-1]["until"]) for a in self._waiting.values() if "until" in a.waits[-1]]

    def _wakes_soon(self) -> bool:
        return any((until - self._now()).total_seconds() < PARK_AFTER for until in self._alarms())

    # Letting go

    async def _park(self) -> bool:
        """Give the worker free until something happens; false when it happened meanwhile."""
        self._batch.status = Status.WAITING
        alarms = self._alarms()
        if self.claim.deadline_at is not None:
            alarms.append(self.claim.deadline_at)
        self._batch.wake_at = min(alarms, default=None)
        committed = await self._flush()
        if committed.status is Status.WAITING:
            return True
        await self._look_at_children()
        self._resume_ready()
        return False

    async def _release(self) -> None:
        """Hand the run to whoever claims it next; what is still under way will be run again."""
        await self._abandon_tasks()
        self._admitted.clear()
        self._batch.status = Status.QUEUED
        await self._flush()

    async def _break_off(self, status: Status, error_code: str = "", error: str = "") -> None:
        """End the run before its time, and what is under way in it."""
        await self._abandon_tasks()
        self._admitted.clear()
        self._in_place.clear()
        for activation in list(self._live.values()):
            activation.status = NodeStatus.TERMINATED
            activation.ended_at = self._now()
            self._batch.finish(activation)
        self._batch.end(status, error_code, error)
        await self._flush()

    async def _abandon_tasks(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    # Committing

    async def _flush(self) -> Committed:
        """Commit everything decided so far, then start the blocks whose intents it recorded."""
        batch, self._batch = self._batch, Batch()
        self._tell_of_unfinished(batch)
        batch.tokens, self._state.new_tokens = self._state.new_tokens, []
        batch.spent, self._state.spent_tokens = self._state.spent_tokens, []
        committed = await self._store.commit(self.claim, self._wakes_answered, batch)
        self._flushed_at = self._loop.time()
        self._surroundings.announce(self.claim, committed, batch)
        self.see(committed.wakes, cancelled=committed.cancelled)
        admitted, self._admitted = self._admitted, []
        for activation, block_input in admitted:
            self._tasks[activation.id] = self._loop.create_task(
                run_block(activation, block_input, self._context(activation), self._mailbox, self._surroundings.threads)
            )
        return committed

    def _tell_of_unfinished(self, batch: Batch) -> None:
        """Blocks under way must have rows, and whoever watches sees their outputs."""
        for activation, _ in self._in_place:
            if not activation.stored:
                batch.tell(activation)
        for activation in {activation.id: activation for activation, _ in batch.outputs}.values():
            if activation.status is NodeStatus.RUNNING and activation.stored:
                batch.tell_output(activation)

    # Small things

    def _now(self) -> datetime:
        """The time by the database's clock."""
        return datetime.now(UTC) + self._clock_skew

    def _context(self, activation: Activation) -> Context:
        return Context(
            run_id=self.claim.run_id,
            graph_id=self.claim.graph_id,
            user_id=self.claim.user_id,
            node_id=activation.node.id,
            key=f"{self.claim.run_id}:{activation.node.id}:{activation.ordinal}",
            attempt=activation.attempt,
            answers=tuple(
                self._children[UUID(wait["child"])] if "child" in wait else None
                for wait in activation.waits
                if "retry" not in wait
            ),
            time_zone=self.claim.time_zone,
        )


def _pair(emission: Any) -> tuple[str, Any]:
    """The emission as (pin, value); raises `BlockError` when it is none, or when the block says it failed."""
    match emission:
        case ("error", message):
            raise BlockError(str(message))
        case (str(pin), value):
            return pin, value
        case _:
            raise BlockError(f"Blocks yield (pin, value) pairs, not {emission!r:.80}")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _explain(error: BaseException) -> str:
    """The message for the `error` pin: short enough to store, and storable."""
    known = isinstance(error, (BlockError, DomainError)) and str(error)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    return text[:MAX_ERROR].replace("\0", "").encode("utf-8", "replace").decode()
