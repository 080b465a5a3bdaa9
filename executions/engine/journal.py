"""What the blocks of a run gave, recorded for the next commit; and that commit.

Between two commits everything is in memory only: when a commit fails, the driver drops it all, and whoever claims the
run next runs those blocks again.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from core.errors import DomainError
from executions.engine.assembly import input_of
from executions.engine.batch import Batch, EventRow
from executions.engine.emissions import explain, pair
from executions.engine.meter import Meter
from executions.engine.rows import Claim, Committed
from executions.engine.state import Activation, Output, RunState
from executions.engine.store import Store
from executions.engine.values import Stored, plain, store, store_input
from executions.engine.waits import go_on
from executions.errors import OverLimit, TooMuchOwed
from executions.kinds import EventKind, NodeStatus
from graphs.blocks.base import BlockError, Decision, Used
from graphs.blocks.inputs import check_output, prepare

log = logging.getLogger(__name__)

REJECTED = "A person rejected this"
# What one commit may hold before it is due.
_MAX_ROWS = 4000
_MAX_BYTES = 4 * 1024 * 1024
_MAX_KNOWN = 10_000
_MAX_FRAMES = 20
_MAX_LOGGED = 1000


class Journal:
    """Records what becomes of a run's activations, and commits it. `now` tells the time by the database's clock."""

    def __init__(self, claim: Claim, state: RunState, store: Store, now: Callable[[], datetime]) -> None:
        self._claim = claim
        self._state = state
        self._store = store
        self._now = now
        self._begun = 0
        self._given = claim.output_count
        self.meter: Meter | None = None
        self._open: dict[UUID, Activation] = {}
        # Hashes of large values that this run has stored.
        self._known: set[str] = set()
        self.batch = Batch()

    @property
    def begun(self) -> int:
        """How many activations of the run have begun."""
        return self._begun

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def is_full(self) -> bool:
        """Whether there is as much to commit as should go together."""
        return len(self.batch) >= _MAX_ROWS or self.batch.size >= _MAX_BYTES

    def restore(self, activations: list[Activation]) -> None:
        """These began before this claim and have not ended."""
        self._open = {activation.id: activation for activation in activations}
        self._begun = self._claim.node_count + len(activations)

    def begin(self, activation: Activation) -> None:
        """Consume the activation's values, or let it go on after a wait; raises `OverLimit` beyond the budget."""
        if activation.started_at is None:
            if self._begun >= self._claim.node_budget:
                node, times = self._state.busiest()
                message = f"The run began {self._begun} activations, its budget; {times} of {node.block.name} {node.id}"
                raise OverLimit("node_budget_exceeded", message)
            self._begun += 1
            activation.started_at = self._now()
            self._open[activation.id] = activation
            self._state.begin(activation)
        elif activation.status is not NodeStatus.RUNNING:
            go_on(activation)

    def prepare(self, activation: Activation, permission: Decision | None) -> BaseModel | None:
        """What the activation's block is given, as the person left it who was asked for `permission`.

        None when the values do not fit, or the person refused: then the activation has failed.
        """
        try:
            data = self._assemble(activation) if activation.input_data is None else activation.input_data
            if permission is not None:
                data = activation.input_data = _permitted(permission)
            return prepare(activation.node.block, data)
        # Blocks check their input in code of their own, which may raise anything.
        except BaseException as error:
            self.fail(activation, error)
            return None

    def skip(self, activation: Activation) -> None:
        """The activation ends well without its block: it is left out of this run."""
        self.begin(activation)
        with suppress(BlockError, DomainError):
            self._assemble(activation)
        activation.status = NodeStatus.COMPLETED
        self._close(activation)

    def accept(self, activation: Activation, emission: Any) -> bool:
        """Record what a block yielded; false when it cannot be taken: then the activation has failed.

        Raises `OverLimit` beyond the budget of outputs.
        """
        try:
            self._take(activation, emission)
        except OverLimit:
            raise
        except (BlockError, DomainError) as error:
            self.fail(activation, error)
            return False
        return True

    def complete(self, activation: Activation) -> None:
        """The activation has ended well."""
        activation.status = NodeStatus.COMPLETED
        if self.meter is not None and (charge := self.meter.charge(activation)) is not None:
            self.batch.charges.append(charge)
        self._close(activation)

    def fail(self, activation: Activation, error: BaseException) -> None:
        """The activation has failed; what it had given stays given, and the message follows on its error pin."""
        activation.error = explain(error)
        if not isinstance(error, (BlockError, DomainError)):
            self._log(activation, error)
        activation.status = NodeStatus.FAILED
        if self.meter is not None:
            self.meter.let_go(activation)
        self._give(activation, "error", store(activation.error))
        self._close(activation)

    def terminate_open(self) -> None:
        """The run ends before its time: so does all that began in it."""
        for activation in self._open.values():
            activation.status = NodeStatus.TERMINATED
            activation.ended_at = self._now()
            self.batch.finish(activation)
        self._open.clear()

    def tell(self, activation: Activation) -> None:
        """The activation's row has changed, and whoever watches shall see it."""
        self.batch.tell(activation)

    def tell_run(self, kind: EventKind) -> None:
        """Whoever watches shall see this of the run."""
        self.batch.events.append(EventRow(kind))

    async def commit(self, wakes: int) -> tuple[Committed, Batch]:
        """Commit what was recorded since the last time; `wakes` is how often the run was woken when it was decided.

        What would put the user deeper in debt than can be counted is not charged: the batch says so. Raises `Fenced`
        when the run belongs to another by now.
        """
        batch, self.batch = self.batch, Batch()
        for activation in {activation.id: activation for activation, _ in batch.outputs}.values():
            if activation.status is NodeStatus.RUNNING and activation.stored:
                batch.tell_output(activation)
        batch.tokens, self._state.new_tokens = self._state.new_tokens, []
        batch.spent, self._state.spent_tokens = self._state.spent_tokens, []
        batch.releases = batch.status.is_final and self.meter is not None and self.meter.may_hold
        while True:
            try:
                committed = await self._store.commit(self._claim, wakes, batch)
                break
            except TooMuchOwed:
                batch.forgo()
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        self._known.update(batch.blobs)
        return committed, batch

    def _assemble(self, activation: Activation) -> dict[str, Any]:
        """Put together what the activation's block is given, and record it.

        Raises `BlockError` or `DomainError` when that cannot be; then what arrived is recorded, if it can be stored.
        """
        try:
            activation.input_data = input_of(activation, self._claim.inputs, self._claim.nodes_input_masks)
        except BlockError:
            activation.input_data = plain(activation.values)
            raise
        finally:
            stored = store_input(activation.input_data or {}, activation.values)
            activation.stored_input = stored
            if stored.blobs:
                self._keep(stored.blobs)
            self.batch.size += len(stored.encoded)
        return activation.input_data

    def _take(self, activation: Activation, emission: Any) -> None:
        """Record what a block yielded; raises `BlockError` or `DomainError` when it cannot be taken."""
        if isinstance(emission, Used):
            activation.used_tokens += max(0, emission.tokens)
            return
        try:
            pin, value = pair(emission)
            check_output(activation.node.block, pin, value)
            stored = None if activation.skip else store(value)
        except (BlockError, DomainError):
            raise
        # The objects that a block yields are foreign code as well.
        except BaseException as error:
            raise BlockError(f"What it gave cannot be used: {explain(error)}") from error
        if stored is None:
            activation.skip -= 1
            if self.meter is not None:
                activation.given_bytes += len(store(value).encoded)
            return
        if self._given >= self._claim.output_budget:
            message = f"The run gave {self._given} outputs, its budget; the last from {activation.node.block.name}"
            raise OverLimit("output_budget_exceeded", f"{message} {activation.node.id}")
        self._give(activation, pin, stored)

    def _give(self, activation: Activation, pin: str, stored: Stored) -> None:
        output = Output(activation.output_count, pin, stored)
        if stored.large is not None:
            self._keep({stored.large.hash: stored.encoded})
        self.batch.size += len(stored.in_row)
        self._given += 1
        activation.given_bytes += len(stored.encoded)
        self._state.emit(activation, output)
        self.batch.add_output(activation, output)

    def _log(self, activation: Activation, error: BaseException) -> None:
        """Whoever wrote the block may want to know where; a message that fills the log tells nobody."""
        where = traceback.format_tb(error.__traceback__, -_MAX_FRAMES)
        about = (activation.node.block.name, self._claim.run_id, activation.error[:_MAX_LOGGED], "".join(where))
        log.warning("%s failed in run %s: %s\n%s", *about)

    def _keep(self, blobs: Mapping[str, bytes]) -> None:
        """Large values to store with the next commit, unless this run has stored them before."""
        for key, encoded in blobs.items():
            if key not in self._known and key not in self.batch.blobs:
                self.batch.blobs[key] = encoded
                self.batch.size += len(encoded)

    def _close(self, activation: Activation) -> None:
        activation.ended_at = self._now()
        self._open.pop(activation.id, None)
        self.batch.finish(activation)
        if self.meter is not None and (fee := self.meter.count()) is not None:
            self.batch.charges.append(fee)
        for moved in self._state.close(activation):
            self.batch.note(moved)


def _permitted(permission: Decision) -> Any:
    """The input as the person left it; raises `BlockError` when they refused."""
    if not permission.approved:
        raise BlockError(": ".join(filter(None, [REJECTED, permission.message])))
    return permission.data
