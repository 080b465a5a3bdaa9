"""Everything that can happen to runs and to the workers that drive them, in any order, on the real engine and rows."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounts.models import User
from executions import again, reviews, services
from executions.errors import NothingToRetry, RunUnderWay
from executions.kinds import FINAL, NodeStatus, Status
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import Verdict
from tests.invariants import violations
from tests.proof.always import Watch
from tests.proof.shapes import NAMES, Shape
from tests.proof.worker import Order, Worker

WORKERS = 3
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


class Machine(RuleBasedStateMachine):
    """Runs, doorbells on their way, and workers in the middle of something. Played on a `stage`, see the fixture."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self._watch = Watch(self.stage.log)
        self._shape_of: dict[UUID, Shape] = {}
        self._cancelled: set[UUID] = set()
        self._bells: list[UUID] = []
        self._names = 0
        self._is_sound = False
        self.stage.log.write_text("")
        self._workers = [self._new_worker() for _ in range(WORKERS)]

    # What users do

    @initialize(names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=2))
    def choose(self, names: list[str]) -> None:
        """Two graphs are enough at a time: so more happens to each."""
        self._shapes = [self.stage.shapes[name] for name in names]
        self.start(which=0)

    @precondition(lambda self: len(self._shape_of) < MAX_RUNS)
    @rule(which=st.integers(0, 1))
    def start(self, which: int) -> None:
        """Somebody starts a run."""
        shape = self._shapes[which]
        run = services.start_run(shape.graph.id, 1, user_id=self.stage.owner.pk, inputs={}, ring=False)
        self._begun(run, shape)

    @precondition(lambda self: self._shape_of and not self._cancelled)
    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        """Somebody stops a run, and whatever it started."""
        run_id = self._a_run(which)
        self._cancelled.add(run_id)
        services.stop_run(run_id)
        self._bells.append(run_id)

    @precondition(lambda self: 0 < len(self._shape_of) < MAX_RUNS)
    @rule(which=st.integers(0, 9))
    def retry(self, which: int) -> None:
        """Somebody goes on from where a run failed or was stopped."""
        run_id = self._a_run(which)
        try:
            self._begun(again.retry_run(run_id, ring=False), self._shape_of[run_id])
        except (RunUnderWay, NothingToRetry):
            assert GraphExecution.objects.get(pk=run_id).status not in {Status.FAILED, Status.TERMINATED}

    @precondition(lambda self: 0 < len(self._shape_of) < MAX_RUNS)
    @rule(which=st.integers(0, 9), node=st.integers(0, 9))
    def replay(self, which: int, node: int) -> None:
        """Somebody runs a part of a run again."""
        run_id = self._a_run(which)
        nodes = list(self._shape_of[run_id].graph.nodes.values())
        try:
            self._begun(again.replay_run(run_id, nodes[node % len(nodes)], ring=False), self._shape_of[run_id])
        except RunUnderWay:
            assert GraphExecution.objects.get(pk=run_id).status not in FINAL

    @rule()
    def decide(self) -> None:
        """Somebody approves whatever is asked."""
        for review in Review.objects.waiting():
            reviews.decide(self.stage.owner.pk, [Verdict(review.node_execution_id, approved=True)])

    # What the broker does

    @precondition(lambda self: self._bells)
    @rule(which=st.integers(0, 9), worker=st.integers(0, WORKERS - 1))
    def deliver(self, which: int, worker: int) -> None:
        """A doorbell is heard."""
        self.stage.run(self._workers[worker].take([self._bells.pop(which % len(self._bells))]))

    @precondition(lambda self: self._shape_of)
    @rule(which=st.integers(0, 9), worker=st.integers(0, WORKERS - 1))
    def deliver_again(self, which: int, worker: int) -> None:
        """A doorbell is heard that has rung before, long ago maybe."""
        self.stage.run(self._workers[worker].take([self._a_run(which)]))

    @precondition(lambda self: self._bells)
    @rule(which=st.integers(0, 9))
    def lose(self, which: int) -> None:
        """A doorbell is never heard."""
        self._bells.pop(which % len(self._bells))

    # What workers do, and what happens to them

    @precondition(lambda self: self._halted)
    @rule(which=st.integers(0, 9), order=ORDERS)
    def go_on(self, which: int, order: Order) -> None:
        """A driver makes its next step."""
        run_id, worker = self._halted[which % len(self._halted)]
        self.stage.run(worker.go_on(run_id, order))

    @precondition(lambda self: self._halted)
    @rule(which=st.integers(0, 9))
    def go_on_to_the_end(self, which: int) -> None:
        """A driver goes on until it lets go of its run."""
        run_id, worker = self._halted[which % len(self._halted)]
        while (run_id, worker) in self._halted:
            self.stage.run(worker.go_on(run_id, Order.GO))

    @rule(worker=st.integers(0, WORKERS - 1))
    def crash(self, worker: int) -> None:
        """A worker is gone, and another takes its place."""
        self.stage.run(self._workers[worker].die())
        self._workers[worker] = self._new_worker()

    @precondition(lambda self: self._shape_of)
    @rule(which=st.integers(0, 9))
    def lapse(self, which: int) -> None:
        """A run's worker was silent for too long."""
        self._execute(_LAPSE, [self._a_run(which)])

    @rule(worker=st.integers(0, WORKERS - 1))
    def look_after(self, worker: int) -> None:
        """A worker renews its leases and sees what happened from outside."""
        self.stage.run(self._workers[worker].look_after())

    @rule(worker=st.integers(0, WORKERS - 1))
    def sweep(self, worker: int) -> None:
        """A worker looks for runs that nobody told it of."""
        self.stage.run(self._workers[worker].sweep())

    @precondition(lambda self: self._shape_of)
    @rule(which=st.integers(0, 9))
    def pass_time(self, which: int) -> None:
        """What a parked run waits for is due."""
        self._execute(_PASS_TIME, [self._a_run(which)])

    # What must hold

    @invariant()
    def every_promise_is_kept(self) -> None:
        """At every moment."""
        self._is_sound = False
        assert self._watch.problems() == []
        assert [worker.faults for worker in self._workers if worker.faults] == []
        self._is_sound = True

    def teardown(self) -> None:
        """Faults stop, no doorbell rings any more: everything ends as it should have."""
        try:
            if self._is_sound:
                self._come_to_rest()
                assert self._watch.problems() == []
                assert violations() == []
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
            self.decide()
            self.every_promise_is_kept()
            self.stage.run(sweeper.sweep())
        raise AssertionError(f"Not at rest: {list(GraphExecution.objects.exclude(status__in=FINAL))}")

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
            unknown = NodeExecution.objects.filter(run=run.pk, error__startswith="The worker was lost").count()
            assert shape.effects - unknown <= len(keys) <= shape.effects

    # Small things

    @property
    def _halted(self) -> list[tuple[UUID, Worker]]:
        """The drivers that wait for a word, in an order that does not depend on which was there first."""
        found = [(run_id, worker) for worker in self._workers for run_id in worker.store.halted]
        return sorted(found, key=lambda one: (one[0], one[1].store.owner))

    def _begun(self, run: GraphExecution, shape: Shape) -> None:
        self._shape_of[run.pk] = shape
        self._bells.append(run.pk)

    def _a_run(self, which: int) -> UUID:
        runs = list(self._shape_of)
        return runs[which % len(runs)]

    def _new_worker(self) -> Worker:
        self._names += 1
        worker = Worker(f"worker-{self._names}", self._watch.wrote, self._bells.extend)
        self.stage.run(worker.store.open())
        return worker

    def _execute(self, statement: str, run_ids: list[UUID] | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, None if run_ids is None else [run_ids])
