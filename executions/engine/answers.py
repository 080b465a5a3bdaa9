"""What a run asks for outside of itself, and what came of it: other runs, decisions, blocks that run apart."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from executions import node_tasks, services
from executions import reviews as review_service
from executions.engine.crossing import context_to_json
from executions.engine.in_thread import in_thread
from executions.engine.plan import Plan
from executions.engine.rows import Claim
from executions.engine.state import Activation
from executions.engine.store import Store
from executions.engine.waits import Wait, outputs_before, taken_up, turn_of
from executions.failpoints import failpoint
from executions.node_tasks import Ending, Part
from graphs.blocks.base import AskForReview, CallGraph, ChildResult, Context


@dataclass(frozen=True, slots=True)
class RunApart:
    """Asked by the driver itself: that some worker runs the activation's block in a process of its own.

    Without `input_data` the block gets what the activation's row holds.
    """

    context: Context
    input_data: Mapping[str, Any] | None = None


Question = CallGraph | AskForReview | RunApart


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

    async def ask(self, claim: Claim, activation: Activation, question: Question) -> Wait:
        """Ask, or find that it was asked before; returns the wait for the answer.

        Raises a `DomainError` when it cannot be asked.
        """
        if isinstance(question, RunApart):
            task_id = await self._ask_for_task(claim, activation, question)
            # The block begins where it last began: what it gave in an earlier attempt comes again, and is skipped.
            return {"task": str(task_id), "outputs": outputs_before(activation)}
        if isinstance(question, AskForReview):
            review_id = await self._ask_person(claim, activation, question)
            return {"review": str(review_id), "outputs": activation.output_count}
        run_id = await self._start_child(claim, activation, question)
        return {"child": str(run_id), "outputs": activation.output_count}

    async def find(self, waits: Sequence[Wait]) -> dict[str, Any]:
        """The answers that are there, by the id of what was asked."""
        answers = await self._results_of([UUID(wait["child"]) for wait in waits if "child" in wait])
        reviews = [UUID(wait["review"]) for wait in waits if "review" in wait]
        if reviews:
            decisions = await in_thread(review_service.decided)(reviews)
            answers.update((str(review_id), decision) for review_id, decision in decisions.items())
        tasks = {UUID(wait["task"]): taken_up(wait) for wait in waits if "task" in wait}
        if tasks:
            # What they gave may be large, and is fetched part by part.
            answers.update((str(task_id), True) for task_id in await in_thread(node_tasks.with_news)(tasks))
        return answers

    async def news_of(self, task_id: str, position: int) -> Part | Ending | None:
        """What a task has given from this position on, or how it ended; None if it is gone."""
        return await in_thread(node_tasks.news_of)(UUID(task_id), position)

    async def _ask_for_task(self, claim: Claim, activation: Activation, question: RunApart) -> UUID:
        return await in_thread(node_tasks.ask)(
            run_id=claim.run_id,
            node_execution_id=activation.id,
            turn=turn_of(activation),
            input_data=question.input_data,
            context=context_to_json(question.context),
            timeout_seconds=activation.node.policy.timeout_seconds,
        )

    async def _ask_person(self, claim: Claim, activation: Activation, question: AskForReview) -> UUID:
        return await in_thread(review_service.ask_review)(
            run_id=claim.run_id,
            user_id=claim.user_id,
            graph_id=claim.graph_id,
            graph_version=claim.graph_version,
            node_id=activation.node.id,
            node_execution_id=activation.id,
            turn=turn_of(activation),
            ask=question,
        )

    async def _start_child(self, claim: Claim, activation: Activation, call: CallGraph) -> UUID:
        """Start a child run; the key makes a second start find the first."""
        key = f"{claim.run_id}:{activation.node.id}:{activation.ordinal}:{turn_of(activation)}"
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
