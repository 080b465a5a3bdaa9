"""One run, driven: ready nodes are run, what they give is committed, and when nothing is left the run parks or ends.

The driver owns the run from its claim on. Blocks that only compute run in place, one after the other, and share
commits; the others run beside each other as tasks, each after its intent was committed. Anything unexpected, a lost
database or a lost lease, makes the driver drop everything: the rows say where another takes over.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from credits.kinds import MOST_CREDITS
from executions.engine.beside import Beside
from executions.engine.emissions import explain
from executions.engine.history import restore
from executions.engine.in_place import InPlace
from executions.engine.journal import Journal
from executions.engine.mailbox import Broken, Called, Emitted, Ended, Held, Mailbox, Poked, Silent
from executions.engine.meter import Meter
from executions.engine.payer import Payer
from executions.engine.plan import Plan
from executions.engine.rehearsal import is_rehearsed, rehearse
from executions.engine.rows import Claim, Committed
from executions.engine.state import Activation, RunState
from executions.engine.store import Store
from executions.engine.surroundings import Surroundings
from executions.engine.suspender import Suspender
from executions.engine.waits import Waits, outputs_before
from executions.errors import OverLimit
from executions.kinds import PARKED, EventKind, NodeStatus, Status
from graphs.blocks.base import AskForReview, BlockError, Context, Effect

MAX_DELAY = 0.05
STREAM_DELAY = 0.02
MAX_BACKLOG = 256
# A large value takes as many places in the backlog.
BYTES_PER_PLACE = 256 * 1024
MAX_CLAIMS = 5
PARK_AFTER = 1.0
# Of many blocks that run apart another may end soon, and to park and be claimed again costs more than to wait for it.
LINGER = 0.25
LOST = "The worker was lost while this ran"


class Driver:
    """Drives one claimed run until it ends, parks, is released or is lost."""

    def __init__(self, claim: Claim, plan: Plan, store: Store, surroundings: Surroundings) -> None:
        self.claim = claim
        self._plan = plan
        self._store = store
        self._surroundings = surroundings
        self._run_id = str(claim.run_id)
        self._loop = asyncio.get_running_loop()
        self._clock_skew = claim.now - datetime.now(UTC)
        self._state = RunState(plan)
        self._journal = Journal(claim, self._state, store, self._now)
        self._mailbox = Mailbox()
        # How often the run was woken by the last look at its row, and by the last look for answers.
        self._wakes = claim.wakes
        self._wakes_answered = claim.wakes
        self._cancelled = claim.cancelled
        self._drain_until: float | None = None
        self._flushed_at = self._loop.time()
        self._in_place = InPlace(self._journal)
        self._queued: deque[Activation] = deque()
        self._admitted: list[tuple[Activation, BaseModel]] = []
        self._waits = Waits()
        self._payer = Payer(claim, self._journal, self._waits, surroundings.purse)
        self._beside = Beside(claim, self._waits, self._mailbox, surroundings)
        self._suspender = Suspender(claim, self._journal, self._waits, self._beside, self._now)
        self._skipped = frozenset(map(UUID, claim.nodes_to_skip))
        self._lingers_until = 0.0
        self._room_owed = 0

    def meter(self, meter: Meter) -> None:
        """What the run does is paid for, as this meter says."""
        self._journal.meter = meter

    def poke(self) -> None:
        """An answer may have come; called from the loop."""
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
            self._in_place.clear()
            await self._beside.abandon()

    async def _step(self) -> bool:
        """One round; true when the run is not ours any more."""
        if self._cancelled:
            await self._break_off(Status.TERMINATED)
            return True
        if self.claim.deadline_at is not None and self._now() >= self.claim.deadline_at:
            raise OverLimit("deadline_exceeded", "The run did not end by its deadline")
        if self._drain_until is not None and (not self._beside or self._loop.time() >= self._drain_until):
            await self._release()
            return True
        await self._work()
        if self._is_ending and not self._beside and not self._admitted:
            return False
        if self._beside or self._admitted or self._wakes_soon():
            if self._admitted or (len(self._journal) and not self._may_linger()):
                await self._flush()
            await self._listen()
            return False
        if (budget := self._payer.over_budget) and not self._waits.await_more_than_credits:
            raise OverLimit("budget_exceeded", f"What the run would do next costs more than is left of {budget}")
        if self._waits:
            return await self._park()
        await self._complete()
        return True

    # Taking a run up

    async def _take_up(self) -> None:
        # Each activation that was taken over from another run brought one event.
        if self.claim.head_seq == 1 + self.claim.node_count:
            self._journal.tell_run(EventKind.RUN_STARTED)
        if self.claim.fence == 1:
            self._state.start()
            return
        activations = await self._recall()
        if any(activation.status is NodeStatus.REVIEW for activation in activations):
            self._journal.tell_run(EventKind.RUN_RESUMED)
        self._payer.restore(activations)
        self._waits.learn(await self._surroundings.answers(self._waits.unanswered(activations)))
        for activation in activations:
            if activation.status is NodeStatus.RUNNING:
                self._run_again(activation)
            else:
                self._waits.restore(activation)
        self._resume_ready()

    async def _recall(self) -> list[Activation]:
        """Build the state again from the rows; returns the activations that began and have not ended."""
        history = await self._store.history(self.claim.run_id, list(self._plan.nodes), self._plan.static_nodes)
        activations = restore(self._state, history)
        self._journal.restore(activations)
        return activations

    def _run_again(self, activation: Activation) -> None:
        """The worker that ran this activation is gone. A block that runs apart has not run in that worker."""
        if not activation.node.is_isolated and not self._must_ask_first(activation):
            effect = activation.node.block.effect
            if effect is Effect.UNSAFE:
                self._suspender.decide_unknown(activation, LOST)
                return
            if effect is Effect.VERIFIABLE:
                self._beside.doubt(activation)
            activation.attempt += 1
        activation.skip = activation.output_count - outputs_before(activation)
        self._dispatch(activation)

    # Working off what is ready

    async def _work(self) -> None:
        """Run what can run without waiting. What is not committed yet afterwards goes with the commit that follows."""
        while True:
            if self._in_place and self._backlog < MAX_BACKLOG:
                if suspended := self._in_place.advance(self._may_go_on):
                    self._suspender.suspend(*suspended)
            elif self._state.ready:
                self._dispatch(self._state.ready.popleft())
            elif self._is_ending or not (self._admit() or await self._fund()):
                break
            if self._is_commit_due():
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
        return len(self._state.ready) + len(self._queued) + self._state.ready_bytes // BYTES_PER_PLACE

    def _may_go_on(self) -> bool:
        """Whether a block in place may give more before something else is done."""
        return self._backlog < MAX_BACKLOG and not self._is_commit_due()

    def _is_commit_due(self) -> bool:
        return self._journal.is_full or self._loop.time() - self._flushed_at > MAX_DELAY

    def _may_linger(self) -> bool:
        """Whether more is likely to come soon that can share the commit."""
        return bool(self._beside) and self._loop.time() - self._flushed_at < STREAM_DELAY

    def _dispatch(self, activation: Activation) -> None:
        block = activation.node.block
        if self._must_ask_first(activation):
            self._ask_first(activation)
        elif activation.node.id in self._skipped:
            self._journal.skip(activation)
        elif self.claim.is_dry_run and is_rehearsed(block):
            self._run_in_place(activation, lambda _: rehearse(block, activation.input_data or {}))
        elif activation.node.runs_in_place:
            self._run_in_place(activation, lambda block_input: block.run(block_input, self._context(activation)))
        else:
            self._queued.append(activation)

    def _run_in_place(self, activation: Activation, run: Callable[[BaseModel], Any]) -> None:
        self._journal.begin(activation)
        block_input = self._journal.prepare(activation, self._waits.permission_of(activation))
        if block_input is not None and self._payer.admits(activation):
            self._in_place.begin(activation, block_input, run)

    def _must_ask_first(self, activation: Activation) -> bool:
        asks = self.claim.sensitive_action_safe_mode and not self.claim.is_dry_run
        return activation.node.block.sensitive and asks and self._waits.permission_of(activation) is None

    def _ask_first(self, activation: Activation) -> None:
        """A sensitive block: a person decides whether it runs, and with what input."""
        self._journal.begin(activation)
        if self._journal.prepare(activation, self._waits.permission_of(activation)) is not None:
            question = AskForReview(activation.input_data, f"May {activation.node.block.name} run with this input?")
            self._suspender.ask(activation, question, gate=True)

    def _admit(self) -> bool:
        """Record the intents of as many queued activations as may run now; whether something became ready by it."""
        while self._queued and self._beside.has_room(len(self._admitted)):
            activation = self._queued.popleft()
            self._journal.begin(activation)
            block_input = self._journal.prepare(activation, self._waits.permission_of(activation))
            # What a block gives that runs apart is taken up whatever has become of the credits: it has run.
            if block_input is not None and (self._waits.task_of(activation) or self._payer.admits(activation)):
                self._journal.tell(activation)
                self._admitted.append((activation, block_input))
        return bool(self._state.ready)

    async def _fund(self) -> bool:
        """Let activations go on for which there are credits now; whether any needed some."""
        if not self._payer.is_due:
            return False
        for activation in await self._payer.pay():
            self._dispatch(activation)
        self._resume_ready()
        return True

    # What blocks that run beside the driver give

    async def _listen(self) -> None:
        """Wait for blocks, timers and pokes, and take up what they bring."""
        emissions = 0
        for message in await self._mailbox.take(self._patience()):
            match message:
                case Broken():
                    raise message.error
                case Poked():
                    await self._look_for_answers()
                case Held():
                    pass
                case Emitted(activation, emission, attempt):
                    emissions += message.weight
                    is_current = not activation.is_closed and attempt == activation.attempt
                    if is_current and not self._journal.accept(activation, emission):
                        self._beside.cancel(activation)
                case Called() | Ended() | Silent():
                    await self._settle(message)
        self._room_owed += emissions
        self._resume_ready()

    def _patience(self) -> float | None:
        """How long to wait for a message before there is something else to do; None is for ever."""
        limits = [(until - self._now()).total_seconds() for until in self._waits.alarms()]
        if self._lingers:
            limits.append(self._lingers_until - self._loop.time())
        if len(self._journal):
            limits.append(STREAM_DELAY)
        limits.append(self._payer.seconds_left())
        if self._drain_until is not None:
            limits.append(self._drain_until - self._loop.time())
        if self.claim.deadline_at is not None:
            limits.append((self.claim.deadline_at - self._now()).total_seconds())
        soonest = min(limits)
        return None if soonest == math.inf else max(0.0, soonest)

    async def _settle(self, message: Ended | Called | Silent) -> None:
        activation = message.activation
        self._beside.settle(activation)
        if activation.is_closed:
            return
        if isinstance(message, Called):
            self._suspender.wait(activation, message.wait)
            if self.claim.fence > 1 or "review" in message.wait:
                # What was asked before the worker was lost may have been answered since, and a person may have
                # answered for the rest of the run: nobody tells of it again.
                await self._look_for_answers()
        elif isinstance(message, Silent):
            self._waits.await_more(activation, message.taken_up)
            self._journal.tell(activation)
            # More may have come since, which was told while nobody waited for it.
            await self._look_for_answers()
        elif message.is_unknown:
            self._suspender.decide_unknown(activation, explain(message.error or BlockError(LOST)))
        elif message.suspension is not None:
            self._suspender.suspend(activation, message.suspension)
        elif message.error is not None:
            self._suspender.retry_or_fail(activation, message.error)
        else:
            self._journal.complete(activation)

    # Waiting

    async def _look_for_answers(self) -> None:
        self._wakes_answered = self._wakes
        open_questions = self._waits.open_questions()
        if open_questions:
            answers = await self._surroundings.answers(open_questions)
            self._waits.learn(answers)
            if answers:
                self._lingers_until = self._loop.time() + LINGER

    def _resume_ready(self) -> None:
        """Run on the activations whose wait is over."""
        for activation in self._waits.take_over(self._now()):
            if self._waits.is_rerun_refused(activation):
                self._suspender.refuse_rerun(activation, activation.waits[-1]["retry"])
            else:
                self._dispatch(activation)

    @property
    def _lingers(self) -> bool:
        return self._loop.time() < self._lingers_until and self._waits.await_tasks

    def _wakes_soon(self) -> bool:
        return self._lingers or any(
            (until - self._now()).total_seconds() < PARK_AFTER for until in self._waits.alarms()
        )

    # Letting go

    async def _complete(self) -> None:
        batch = self._journal.batch
        batch.stalled = [
            {"node_id": str(node_id), "missing": sorted(pins)} for node_id, pins in self._state.stalled().items()
        ]
        batch.end(Status.COMPLETED)
        await self._flush()

    async def _park(self) -> bool:
        """Give the worker free until something happens; false when it happened meanwhile."""
        alarms = self._waits.alarms()
        if self.claim.deadline_at is not None:
            alarms.append(self.claim.deadline_at)
        self._journal.batch.park(self._waits.parked_as(), min(alarms, default=None))
        self._journal.batch.needs_credits = self._payer.least_needed()
        committed = await self._flush()
        if committed.status in PARKED:
            return True
        await self._look_for_answers()
        self._resume_ready()
        return False

    async def _release(self) -> None:
        """Hand the run to whoever claims it next; what is still under way will be run again."""
        await self._beside.abandon()
        self._admitted.clear()
        self._journal.batch.status = Status.QUEUED
        await self._flush()

    async def _break_off(self, status: Status, error_code: str = "", error: str = "") -> None:
        """End the run before its time, and what is under way in it."""
        await self._beside.abandon()
        self._admitted.clear()
        self._in_place.clear()
        self._queued.clear()
        self._payer.clear()
        self._journal.terminate_open()
        self._journal.batch.end(status, error_code, error)
        await self._flush()

    # Committing

    async def _flush(self) -> Committed:
        """Commit everything decided so far, then start the blocks whose intents it recorded."""
        self._in_place.tell()
        paid = self._take_unwritten()
        self._payer.put_off(paid)
        await self._payer.collect()
        committed, batch = await self._journal.commit(self._wakes_answered)
        self._flushed_at = self._loop.time()
        self._surroundings.announce(self.claim, committed, batch)
        self.see(committed.wakes, cancelled=committed.cancelled)
        if batch.is_over_debt and not committed.status.is_final:
            raise OverLimit("debt_exceeded", f"What the run has used would bring a debt above {MOST_CREDITS:,} credits")
        admitted, self._admitted = self._admitted, []
        for activation, block_input in admitted:
            self._beside.run(activation, block_input, self._context(activation))
        if paid and not self._is_ending:
            self._resume_ready()
        return committed

    def _take_unwritten(self) -> list[Activation]:
        """Those that have begun, wait for room, and have no row yet; they leave the queue."""
        unwritten = [each for each in self._queued if each.started_at is not None and not each.stored]
        if unwritten:
            self._queued = deque(each for each in self._queued if each.started_at is None or each.stored)
        return unwritten

    def _now(self) -> datetime:
        """The time by the database's clock."""
        return datetime.now(UTC) + self._clock_skew

    def _context(self, activation: Activation) -> Context:
        return Context(
            run_id=self.claim.run_id,
            graph_id=self.claim.graph_id,
            user_id=self.claim.user_id,
            node_id=activation.node.id,
            key=f"{self._run_id}:{activation.node.id}:{activation.ordinal}",
            attempt=activation.attempt,
            attempts_left=max(0, activation.node.policy.retry.attempts - activation.attempt),
            answers=self._waits.answers_of(activation),
            time_zone=self.claim.time_zone,
            safe_mode=self.claim.human_in_the_loop_safe_mode and not self.claim.is_dry_run,
        )
