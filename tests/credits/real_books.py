"""The same moves on the real ledger: by services, and as workers make them with statements of their own."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from accounts.models import User
from core.errors import DomainError
from credits import holds, ledger
from credits.holds import Wish
from credits.kinds import Kind
from credits.models import Hold
from executions.engine.batch import Batch
from executions.engine.meter import Charge
from executions.engine.purse import Purse
from executions.engine.rows import Claim
from executions.engine.store import Store
from executions.errors import Fenced, TooMuchOwed
from executions.kinds import Status
from executions.models import GraphExecution
from tests import make

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class RealBooks:
    """Moves credits as `PlainBooks` does. Runs are rows that a worker has claimed, and that no block is run for."""

    def __init__(self, store: Store, runner: asyncio.Runner, graphs: dict[UUID, tuple[User, UUID]]) -> None:
        self._store = store
        self._purse = Purse(store)
        self._runner = runner
        self._graphs = graphs
        self._claims: dict[UUID, Claim] = {}

    def move(self, what: str, user_id: UUID, amount: int, key: str) -> str:
        try:
            match what:
                case "credit":
                    posted = ledger.credit(user_id, amount, kind=Kind.TOP_UP, key=key)
                case "spend":
                    posted = ledger.spend(user_id, amount, key=key)
                case _:
                    posted = ledger.take_back(user_id, amount, key=key)
        except DomainError as error:
            return error.code
        return "new" if posted.is_new else "known"

    def place(self, user_id: UUID, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            self._claim(wish.run_id, user_id)
        holds.place(user_id, wishes)

    def call(self, run_id: UUID, root_id: UUID) -> None:
        self._claim(run_id, self._claims[root_id].user_id, root_id=root_id, parent_id=root_id)
        self._runner.run(self._purse.open(self._claims[run_id]))

    def extend(self, run_id: UUID, need: int, ahead: int, *, may_owe: bool = False) -> int:
        granted = self._purse.reserve(self._claims[run_id], need, ahead, may_owe=may_owe)
        return self._runner.run(granted).amount

    def post(self, run_id: UUID, amount: int, key: str, *, ends: bool) -> str:
        hold = Hold.objects.get(run_id=run_id)
        if amount > hold.amount and Hold.objects.get(run_id=hold.root_id).cap is not None:
            try:
                amount = hold.amount + self.extend(run_id, amount - hold.amount, 0, may_owe=True)
            except Fenced:
                return "refused"
        batch = Batch(charges=[Charge(key, amount, "use", {})] if amount else [], releases=ends)
        if ends:
            batch.end(Status.COMPLETED)
        try:
            self._runner.run(self._store.commit(self._claims[run_id], 0, batch))
        except (Fenced, TooMuchOwed, psycopg.errors.UniqueViolation):
            return "refused"
        return "posted"

    def release(self, run_id: UUID) -> None:
        run = GraphExecution.objects.filter(pk=run_id, ended_at=None)
        run.end(Status.TERMINATED, 1, nodes=0, error_code="", error="")
        holds.release(run_id)

    def expire(self, run_ids: Sequence[UUID]) -> int:
        Hold.objects.filter(run_id__in=run_ids).update(expires_at=_LONG_AGO)
        return holds.expire()

    def _claim(self, run_id: UUID, user_id: UUID, **family: Any) -> None:
        owner, graph_id = self._graphs[user_id]
        make.a_run(owner, graph_id, pk=run_id, price_version=0, **family)
        claim = self._runner.run(self._store.claim(run_id))
        assert claim is not None
        self._claims[run_id] = claim


@contextmanager
def real_books(users: Sequence[User]) -> Iterator[RealBooks]:
    """Real books that these users have accounts in."""
    graphs = {user.pk: (user, make.a_graph(user).graph_id) for user in users}
    store = Store("a test", 2)
    with asyncio.Runner() as runner:
        runner.run(store.open())
        try:
            yield RealBooks(store, runner, graphs)
        finally:
            runner.run(store.close())
