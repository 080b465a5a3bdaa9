"""What a run asks for outside of itself, and what came of it: the runs that it calls."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from executions import services
from executions.engine.in_thread import in_thread
from executions.engine.plan import Plan
from executions.engine.rows import Claim
from executions.engine.state import Activation
from executions.engine.store import Store
from executions.engine.waits import Wait
from executions.failpoints import failpoint
from graphs.blocks.base import CallGraph, ChildResult


class Answers:
    """Asks on behalf of drivers. `accept` takes up the runs that were started."""

    def __init__(
        self,
        store: Store,
        plan: Callable[[UUID, int], Awaitable[Plan]],
        accept: Callable[[Sequence[UUID]], None],
    ) -> None:
        self._store = store
        self._plan = plan
        self._accept = accept

    async def ask(self, claim: Claim, activation: Activation, question: CallGraph) -> Wait:
        """Ask, or find that it was asked before; returns the wait for the answer.

        Raises a `DomainError` when it cannot be asked.
        """
        run_id = await self._start_child(claim, activation, question)
        return {"child": str(run_id), "outputs": activation.output_count}

    async def find(self, waits: Sequence[Wait]) -> dict[str, Any]:
        """The answers that are there, by the id of what was asked."""
        return await self._results_of([UUID(wait["child"]) for wait in waits if "child" in wait])

    async def _start_child(self, claim: Claim, activation: Activation, call: CallGraph) -> UUID:
        """Start a child run; the key makes a second start find the first."""
        key = f"{claim.run_id}:{activation.node.id}:{activation.ordinal}:{len(activation.waits)}"
        run = await in_thread(services.start_run)(
            call.graph_id,
            call.graph_version,
            user_id=claim.user_id,
            inputs=dict(call.inputs),
            nodes_input_masks=dict(call.nodes_input_masks),
            parent_id=claim.run_id,
            trigger_key=key,
            ring=False,
        )
        failpoint("child.after_start")
        self._accept([run.id])
        return run.id

    async def _results_of(self, run_ids: list[UUID]) -> dict[str, Any]:
        results = {}
        for row in await self._store.finished(run_ids) if run_ids else []:
            plan = await self._plan(row["graph_id"], row["graph_version"])
            outputs = await self._store.outputs_of(row["id"], plan.output_nodes)
            results[str(row["id"])] = ChildResult(row["id"], row["status"], tuple(outputs), row["error"])
        return results
