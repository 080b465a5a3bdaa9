"""Everything that can happen to runs and to the workers that drive them, in any order, on the real engine and rows."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from accounts.models import User
from executions import again, reviews, services
from executions.kinds import ACTIVE, FINAL, NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import Verdict
from tests.invariants import secrets, violations
from tests.proof.always import Watch
from tests.proof.hosts import Hosts
from tests.proof.shapes import NAMES, UNKNOWN, Shape
from tests.proof.worker import Order, Worker

T = TypeVar("T")

WORKERS = 3
WORKER = st.integers(0, WORKERS - 1)
WHICH = st.integers(0, 11)
ORDERS = st.sampled_from([Order.GO] * 6 + [Order.PAUSE] * 2 + [Order.LOSE, Order.FORGET])
MAX_RUNS = 4
MAX_ROUNDS = 40

_LAPSE = """
UPDATE executions_graphexecution SET lease_until = clock_timestamp() - interval '1 s'
WHERE id = ANY(%s) AND status = 'RUNNING'
"""

# Time passes for those who wait and are not being driven: whoever drives a run has read its times already.
_PASS_TIME = """
WITH due AS (
    UPDATE executions_graphexecution SET wake_at = clock_timestamp() - interval '1 s'
    WHERE id = ANY(%s) AND status = 'WAITING' AND wake_at IS NOT NULL RETURNING id
)
UPDATE executions_nodeexecution SET waits = jsonb_set(
    waits, ARRAY[(jsonb_array_length(waits) - 1)::text, 'until'], to_jsonb(clock_timestamp() - interval '1 s'))
WHERE run_id IN (SELECT id FROM due) AND status = 'WAITING' AND waits -> -1 ? 'until'
"""


@dataclass
class Stage:
    """What all examples share: whose runs they are, the graphs, the log of effects, the loop that workers live in.

    `told` counts how runs ended.
    """

    owner: User
    shapes: dict[str, Shape]
    log: Path
    loop: asyncio.AbstractEventLoop
    told: dict[str, int] = field(default_factory=dict)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the workers live until `work` is done; between two calls nothing moves."""
        self.loop.run_until_complete(work)

    def count(self, what: str) -> None:
        """For the record."""
        self.told[what] = self.told.get(what, 0) + 1


Play = Callable[..., None]


def when(is_possible: Callable[[Any], object]) -> Callable[[Play], Play]:
    """Play a rule if it is possible by now, else let somebody make a step.

    Every rule can be chosen always: what is possible depends a little on the clock, and Hypothesis must meet the same
    choices each time.
    """

    def decorate(play: Play) -> Play:
        @wraps(play)
        def play_or_step(self: "Machine", *arguments: Any, **named: Any) -> None:
            if is_possible(self):
                play(self, *arguments, **named)
            else:
                self.step()

        return play_or_step

    return decorate


class Machine(RuleBasedStateMachine):
    """Runs, doorbells on their way, and workers in the middle of something. Played on a `stage`, see the fixture."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self._watch = Watch(self.stage.log)
        self._shape_of: dict[UUID, Shape] = {}
        self._cancelled: set[UUID] = set()
        self._bells: list[UUID] = []
        self._hosts = Hosts()
        self._names = self._turns = 0
        self._is_sound = False
        self.stage.log.write_text("")
        self._workers = [self._new_worker() for _ in range(WORKERS)]

    # What users do

    @initialize(names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=2))
    def choose(self, names: list[str]) -> None:
        """Two graphs are enough at a time: so more happens to each. A run of either begins."""
        self._shapes = [self.stage.shapes[name] for name in names]
        for which in range(2):
            self.start(which)
            self.ring(0, worker=which, is_heard=True)

    @rule(which=st.integers(0, 1))
    @when(lambda self: len(self._shape_of) < MAX_RUNS)
    def start(self, which: int) -> None:
        """Somebody starts a run."""
        shape = self._shapes[which]
        run = services.start_run(shape.graph.id, 1, user_id=self.stage.owner.pk, inputs={}, ring=False)
        self._begun(run, shape)

    @rule(which=WHICH)
    @when(lambda self: self._open_runs and not self._cancelled)
    def cancel(self, which: int) -> None:
        """Somebody stops a run, and whatever it started; maybe it has ended long ago."""
        run_id = one_of(list(self._shape_of), which)
        self._cancelled.add(run_id)
        services.stop_run(run_id)
        self._bells.append(run_id)

    @rule(which=WHICH)
    @when(lambda self: self._incomplete_runs and len(self._shape_of) < MAX_RUNS)
    def retry(self, which: int) -> None:
        """Somebody goes on from where a run failed or was stopped."""
        run_id = one_of(self._incomplete_runs, which)
        self._begun(again.retry_run(run_id, ring=False), self._shape_of[run_id])

    @rule(which=WHICH, node=WHICH)
    @when(lambda self: self._ended_runs and len(self._shape_of) < MAX_RUNS)
    def replay(self, which: int, node: int) -> None:
        """Somebody runs a part of a run again."""
        run_id = one_of(self._ended_runs, which)
        from_node = one_of(list(self._shape_of[run_id].graph.nodes.values()), node)
        self._begun(again.replay_run(run_id, from_node, ring=False), self._shape_of[run_id])

    @rule()
    @when(lambda self: any(self._shape_of[run_id].name == "review" for run_id in self._own_open_runs))
    def decide(self) -> None:
        """Somebody approves whatever is asked, maybe before the run waits for it."""
        self._approve()

    @rule(which=WHICH)
    @when(lambda self: self._runs_that_are(Status.WAITING))
    def pass_time(self, which: int) -> None:
        """What a parked run waits for is due."""
        self._execute(_PASS_TIME, [one_of(self._runs_that_are(Status.WAITING), which)])

    # What the broker does

    @rule(which=WHICH, worker=WORKER, is_heard=st.sampled_from([True, True, True, False]))
    @when(lambda self: self._bells)
    def ring(self, which: int, worker: int, *, is_heard: bool) -> None:
        """A doorbell is heard, or never."""
        run_id = self._bells.pop(which % len(self._bells))
        if is_heard:
            self.stage.run(self._workers[worker].take([run_id]))

    @rule(which=WHICH, worker=WORKER)
    def ring_again(self, which: int, worker: int) -> None:
        """A doorbell is heard that has rung before, maybe long ago and for a run that has ended."""
        self.stage.run(self._workers[worker].take([one_of(list(self._watch.runs), which)]))

    # What workers do, and what happens to them

    @rule(which=WHICH, steps=st.sampled_from([1, 1, 1, 2, 3, 50]), order=ORDERS)
    @when(lambda self: self._halted)
    def go_on(self, which: int, steps: int, order: Order) -> None:
        """A driver makes a step or several; something may happen to it after the last one."""
        run_id, worker = one_of(self._halted, which)
        for step in range(1, steps + 1):
            if (run_id, worker) in self._halted:
                self.stage.run(worker.go_on(run_id, order if step == steps else Order.GO))

    @rule()
    @when(lambda self: self._halted)
    def all_go_on(self) -> None:
        """Every driver makes a step."""
        for run_id, worker in self._halted:
            self.stage.run(worker.go_on(run_id, Order.GO))
            self.every_promise_is_kept()

    @rule(which=WHICH)
    @when(lambda self: self._halted)
    def crash(self, which: int) -> None:
        """A worker is gone in the middle of something, and another takes its place."""
        _, worker = one_of(self._halted, which)
        self.stage.run(worker.die())
        self._workers[self._workers.index(worker)] = self._new_worker()

    @rule(which=WHICH)
    @when(lambda self: self._watch.leased())
    def lapse(self, which: int) -> None:
        """A run's worker was silent for too long."""
        self._execute(_LAPSE, [one_of(self._watch.leased(), which)])

    @rule(which=WHICH, worker=WORKER)
    @when(lambda self: self._runs_that_are(Status.RUNNING))
    def take_over(self, which: int, worker: int) -> None:
        """A run's worker was silent for too long, and somebody noticed."""
        run_id = one_of(self._runs_that_are(Status.RUNNING), which)
        self._execute(_LAPSE, [run_id])
        self.every_promise_is_kept()
        self.stage.run(self._workers[worker].take([run_id]))

    @rule(which=WHICH, act=st.sampled_from(["take", "give", "end", "lapse"]))
    @when(lambda self: any(self._shape_of[run_id].name == "isolated" for run_id in self._own_open_runs))
    def host(self, which: int, act: str) -> None:
        """A host of isolated blocks takes one, hands on an output, ends, or was silent for too long: late, or twice."""
        if act == "lapse":
            self._hosts.lapse()
        elif act == "take" or not self._hosts.known:
            self._hosts.take()
        else:
            do = self._hosts.give if act == "give" else self._hosts.end
            self._bells += do(one_of(self._hosts.known, which))

    @rule(which=WHICH)
    @when(lambda self: self._halted)
    def look_after(self, which: int) -> None:
        """A worker renews its leases and sees what happened from outside."""
        self.stage.run(one_of(self._halted, which)[1].look_after())

    @rule(worker=WORKER)
    @when(lambda self: self._open_runs)
    def sweep(self, worker: int) -> None:
        """A worker looks for runs that nobody told it of."""
        self.stage.run(self._workers[worker].sweep())

    def step(self) -> None:
        """Whose turn it is goes on, or hears a doorbell."""
        self._turns += 1
        if self._halted:
            run_id, worker = one_of(self._halted, self._turns)
            self.stage.run(worker.go_on(run_id, Order.GO))
        elif self._bells:
            self.stage.run(one_of(self._workers, self._turns).take([self._bells.pop(0)]))

    # What must hold

    @invariant()
    def every_promise_is_kept(self) -> None:
        """At every moment."""
        self._is_sound = False
        faults = [f"{worker.store.owner}: {fault!r}" for worker in self._workers for fault in worker.faults]
        demand_none([*self._watch.problems(), *faults, *self._hosts.broken])
        self._is_sound = True

    def teardown(self) -> None:
        """Faults stop, no doorbell rings any more: everything ends as it should have."""
        try:
            if self._is_sound:
                self._come_to_rest()
                self.every_promise_is_kept()
                demand_none(violations(secret_texts=secrets.known()))
                for run in GraphExecution.objects.filter(parent=None):
                    self._check_end(run)
        finally:
            for worker in self._workers:
                self.stage.run(worker.die())
            GraphExecution.objects.all().delete()

    def _come_to_rest(self) -> None:
        """Every worker goes on, the first one sweeps, and time passes (I1, I16, I20)."""
        for worker in self._workers:
            self.stage.run(worker.go_free())
        sweeper = self._workers[0]
        for _ in range(MAX_ROUNDS):
            under_way = list(GraphExecution.objects.exclude(status__in=FINAL).values_list("pk", flat=True))
            if not under_way:
                return
            self._execute(_LAPSE, under_way)
            self._execute(_PASS_TIME, under_way)
            self._approve()
            self._hosts.work_off()
            self.every_promise_is_kept()
            self.stage.run(sweeper.sweep())
        raise AssertionError(f"Not at rest: {list(GraphExecution.objects.exclude(status__in=FINAL))}")

    def _approve(self) -> None:
        for review in Review.objects.waiting():
            reviews.decide(self.stage.owner.pk, [Verdict(review.node_execution_id, approved=True)])

    def _check_end(self, run: GraphExecution) -> None:
        shape = self._shape_of[run.pk]
        self.stage.count(f"{shape.name} {run.status} {run.error_code}")
        if run.status == Status.COMPLETED:
            given = NodeExecution.objects.filter(run=run.pk, node_id=shape.graph.nodes["out"])
            given = given.filter(status=NodeStatus.COMPLETED).order_by("ended_at", "ordinal")
            assert [node.input_data["value"] for node in given] in shape.outputs
        elif run.status == Status.TERMINATED:
            assert run.pk in self._cancelled
        else:
            assert (run.status, run.error_code) == (Status.FAILED, "crash_loop")
        if run.status == Status.COMPLETED and run.source_run_id is None:
            family = [run.pk, *GraphExecution.objects.filter(root_id=run.pk).values_list("pk", flat=True)]
            keys = {key for key in self._watch.calls() if UUID(key.split(":")[0]) in family}
            is_cut_off = NodeExecution.objects.filter(run=run.pk, error=UNKNOWN).exists()
            assert len(keys) <= shape.effects if is_cut_off else len(keys) == shape.effects

    # Small things

    @property
    def _halted(self) -> list[tuple[UUID, Worker]]:
        """The drivers that wait for a word, in an order that does not depend on which was there first."""
        found = [(run_id, worker) for worker in self._workers for run_id in worker.store.halted]
        return sorted(found, key=lambda one: (one[0], one[1].store.owner))

    @property
    def _open_runs(self) -> list[UUID]:
        """The runs that have not ended."""
        return self._runs_that_are(*ACTIVE)

    @property
    def _own_open_runs(self) -> list[UUID]:
        """Those that were not called by others."""
        return [run_id for run_id in self._open_runs if run_id in self._shape_of]

    @property
    def _ended_runs(self) -> list[UUID]:
        """The runs that have, those excepted that other runs called."""
        return [run_id for run_id in self._runs_that_are(*FINAL) if run_id in self._shape_of]

    @property
    def _incomplete_runs(self) -> list[UUID]:
        """The ended runs of which something is left to do."""
        runs = self._watch.runs
        return [
            run_id
            for run_id in self._ended_runs
            if runs[run_id]["status"] != Status.COMPLETED or runs[run_id]["node_error_count"]
        ]

    def _runs_that_are(self, *statuses: Status) -> list[UUID]:
        return sorted(run_id for run_id, run in self._watch.runs.items() if run["status"] in statuses)

    def _begun(self, run: GraphExecution, shape: Shape) -> None:
        self._shape_of[run.pk] = shape
        self._bells.append(run.pk)

    def _new_worker(self) -> Worker:
        self._names += 1
        worker = Worker(f"worker-{self._names}", self._watch.wrote, self._bells.extend)
        self.stage.run(worker.store.open())
        return worker

    def _execute(self, statement: str, run_ids: list[UUID] | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, None if run_ids is None else [run_ids])


def demand_none(problems: list[str]) -> None:
    """Fail with all of them, if there are any."""
    assert not problems, "\n".join(problems)


def one_of(found: Sequence[T], which: int) -> T:
    """One of them, whatever `which` is."""
    return found[which % len(found)]
