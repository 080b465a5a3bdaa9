"""Whatever moves are made, the ledger and its holds end as a plain model says."""

import random
from typing import Any
from uuid import UUID

import pytest
from django.db.models import Q, Sum
from pytest_django import Settings

from credits.holds import Wish
from credits.kinds import MOST, Party
from credits.models import Account, Hold, Transfer
from tests import make
from tests.credits.plain_books import PlainBooks, PlainHold
from tests.credits.real_books import real_books

HOW_OFTEN = {"credit": 8, "spend": 8, "take_back": 1, "place": 5, "call": 3, "extend": 8, "post": 14, "release": 2,
             "expire": 1}  # fmt: skip
# With as many runs most of them end.
CROWD = 30


class Moves:
    """Moves at random, of runs and users that there are."""

    def __init__(self, seed: int, model: PlainBooks, users: list[UUID]) -> None:
        self._draw = random.Random(seed)
        self._model = model
        self._users = users
        self._runs: list[UUID] = []
        self._step = 0

    def next(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The name of a move, and its arguments."""
        self._step += 1
        what = self._draw.choices(list(HOW_OFTEN), list(HOW_OFTEN.values()))[0]
        # Sorted, so that one seed leads to one end.
        there = sorted(self._model.open)
        if what in ("credit", "spend", "take_back"):
            amount = self._draw.choice([self._small(), self._small(), 0, -3, MOST, MOST + 1])
            return "move", (what, self._draw.choice(self._users), amount, self._key()), {}
        if what == "place" or not there:
            wishes = [self._wish() for _ in range(self._draw.randint(1, 3))]
            return "place", (self._draw.choice(self._users), wishes), {}
        if what == "expire":
            return "expire", (self._draw.sample(there, min(3, len(there))),), {}
        return self._of_run(what, self._draw.choice(there), is_crowded=len(there) > CROWD)

    def _of_run(self, what: str, run_id: UUID, *, is_crowded: bool) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        if self._draw.random() < 0.05 and what in ("post", "release"):
            # Of a run that has most likely ended.
            run_id = self._draw.choice(self._runs)
        hold = self._model.holds[run_id]
        match what:
            case "call":
                root_id = run_id if self._model.holds[hold.root_id].is_released else hold.root_id
                return what, (self._new_run(), root_id), {}
            case "extend":
                return what, (run_id, self._amount(), self._draw.choice([0, 0, self._small()])), {}
            case "post":
                amount = self._draw.choice([hold.amount, self._amount(), 0])
                ends = self._draw.random() < (0.8 if is_crowded else 0.2)
                return what, (run_id, amount, self._key()), {"ends": ends}
            case _:
                return what, (run_id,), {}

    def _wish(self) -> Wish:
        cap = self._draw.choice([None, None, self._small(), 100])
        amount = self._amount() if cap is None else min(self._amount(), cap)
        return Wish(self._new_run(), amount, cap, is_shared=self._draw.random() < 0.4)

    def _new_run(self) -> UUID:
        self._runs.append(UUID(int=self._draw.getrandbits(128)))
        return self._runs[-1]

    def _amount(self) -> int:
        return self._draw.choices([self._small(), MOST], [20, 1])[0]

    def _small(self) -> int:
        return self._draw.randint(1, 50)

    def _key(self) -> str:
        return f"k{self._draw.randrange(self._step)}" if self._draw.random() < 0.2 else f"k{self._step}"


@pytest.mark.timeout(3600)
def test_any_moves_end_as_a_plain_model_says(transactional_db: None, settings: Settings, moves: int) -> None:
    settings.RUNS_PER_USER = settings.RUNS_PER_GRAPH = 10**6
    seed = random.randrange(10**9)
    users = [make.a_user() for _ in range(5)]
    model = PlainBooks()
    chance = Moves(seed, model, [user.pk for user in users])
    with real_books(users) as real:
        for user in users:
            # Nobody runs anything who never had something.
            assert [each.move("credit", user.pk, 1, f"start:{user.pk}") for each in (model, real)] == ["new", "new"]
        for step in range(moves):
            what, arguments, named = chance.next()
            expected = getattr(model, what)(*arguments, **named)
            assert getattr(real, what)(*arguments, **named) == expected, (seed, step, what, arguments, named)
            if step % 5 == 0:
                assert accounts() == floors(model), (seed, step)
    assert accounts() == floors(model), seed
    assert rows() == model.holds, seed
    assert Transfer.objects.count() == len(model.keys)
    for user in users:
        assert moved(user.pk) == model.balance.get(user.pk, 0) + model.held_by(user.pk)
    used = Transfer.objects.filter(run_id__isnull=False).values("run_id").annotate(used=Sum("amount"))
    assert {row["run_id"]: row["used"] for row in used} == {
        run_id: hold.spent for run_id, hold in model.holds.items() if hold.spent
    }


def accounts() -> dict[UUID, tuple[int, int]]:
    """Balance and floor of everybody who has, or owes, something."""
    return {user: (balance, floor) for user, balance, floor in
            Account.objects.exclude(balance=0, floor=0).values_list("user_id", "balance", "floor")}  # fmt: skip


def floors(model: PlainBooks) -> dict[UUID, tuple[int, int]]:
    """The same as the model has it: nobody is below 0 but for what they owe, and a debt only shrinks."""
    return {user: (balance, min(0, balance)) for user, balance in model.balance.items() if balance}


def rows() -> dict[UUID, PlainHold]:
    """All holds."""
    return {
        hold.run_id: PlainHold(
            hold.user_id, hold.root_id, hold.amount, hold.pool, hold.spent, hold.taken, hold.cap,
            hold.released_at is not None,
        )
        for hold in Hold.objects.all()
    }  # fmt: skip


def moved(user_id: UUID) -> int:
    """What all transfers of a user come to."""
    mine = Transfer.objects.filter(user_id=user_id)
    sums = mine.aggregate(given=Sum("amount", filter=Q(credit=Party.USER)), all=Sum("amount"))
    return 2 * (sums["given"] or 0) - (sums["all"] or 0)
