"""The ledger and its holds as a plain model: what each move must answer, and what there is afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from credits.holds import Wish
from credits.kinds import MOST


@dataclass
class PlainHold:
    """What a run has set aside, and its family together."""

    user_id: UUID
    root_id: UUID
    amount: int = 0
    pool: int = 0
    spent: int = 0
    taken: int = 0
    cap: int | None = None
    is_released: bool = False


class PlainBooks:
    """Balances, keys and holds; `open` are the runs that may still use something."""

    def __init__(self) -> None:
        self.balance: dict[UUID, int] = {}
        self.keys: dict[str, tuple[str, UUID, int]] = {}
        self.holds: dict[UUID, PlainHold] = {}
        self.open: set[UUID] = set()

    def held_by(self, user_id: UUID) -> int:
        """What all runs of a user have set aside."""
        mine = (self.holds[run_id] for run_id in self.open if self.holds[run_id].user_id == user_id)
        return sum(hold.amount + hold.pool for hold in mine)

    def move(self, what: str, user_id: UUID, amount: int, key: str) -> str:
        """Give credits, or take them; debts are for those that are taken back only."""
        if not 0 < amount <= MOST:
            return "amount_invalid"
        if key in self.keys:
            return "known" if self.keys[key] == (what, user_id, amount) else "key_taken"
        after = self.balance.get(user_id, 0) + (amount if what == "credit" else -amount)
        if what == "spend" and after < 0:
            return "insufficient_credits"
        if after < -MOST or (what == "credit" and after + self.held_by(user_id) > MOST):
            return "amount_invalid"
        self.balance[user_id] = after
        self.keys[key] = (what, user_id, amount)
        return "new"

    def place(self, user_id: UUID, wishes: Sequence[Wish]) -> None:
        """Set aside what there is, the first ones first."""
        for wish in wishes:
            amount = max(0, min(wish.amount, self.balance.get(user_id, 0)))
            own = 0 if wish.is_shared else amount
            self.holds[wish.run_id] = PlainHold(user_id, wish.run_id, own, amount - own, taken=own, cap=wish.cap)
            self.open.add(wish.run_id)
            self._pay(user_id, amount)

    def call(self, run_id: UUID, root_id: UUID) -> None:
        """A run of the family begins, with nothing."""
        self.holds[run_id] = PlainHold(self.holds[root_id].user_id, root_id)
        self.open.add(run_id)

    def extend(self, run_id: UUID, need: int, ahead: int, *, may_owe: bool = False) -> int:
        """Set more aside: from the pool of the family first, then from the balance, within the budget of the family."""
        hold = self.holds[run_id]
        root = self.holds[hold.root_id]
        if root.is_released:
            return 0
        wish = need + ahead if root.cap is None else min(need + ahead, root.cap - root.taken)
        from_balance = 0
        if root.pool < min(need, wish):
            there = max(0, self.balance.get(hold.user_id, 0) + (MOST if may_owe else 0))
            from_balance = min(wish - root.pool, there)
        from_pool = min(wish, root.pool)
        root.pool -= from_pool
        root.taken += from_pool + from_balance
        hold.amount += from_pool + from_balance
        self._pay(hold.user_id, from_balance)
        return from_pool + from_balance

    def post(self, run_id: UUID, amount: int, key: str, *, ends: bool) -> str:
        """Charge a run for what it used, at most its budget; with that it may end."""
        hold = self.holds[run_id]
        if hold.is_released:
            return "refused"
        root = self.holds[hold.root_id]
        if root.cap is not None and amount > hold.amount:
            amount = hold.amount + self.extend(run_id, amount - hold.amount, 0, may_owe=True)
        paid = min(amount, hold.amount)
        short, rest = amount - paid, hold.amount - paid
        back = rest + hold.pool if ends else 0
        if (amount and key in self.keys) or self.balance.get(hold.user_id, 0) + back - short < -MOST:
            return "refused"
        if amount:
            self.keys[key] = ("spend", hold.user_id, amount)
        hold.amount -= paid
        hold.spent += amount
        root.taken += short
        self._pay(hold.user_id, short)
        if ends:
            self.release(run_id)
        return "posted"

    def release(self, run_id: UUID) -> None:
        """What is left goes back."""
        self._empty(run_id)
        self.holds[run_id].is_released = True
        self.open.discard(run_id)

    def expire(self, run_ids: Sequence[UUID]) -> int:
        """What is left goes back, and may be set aside again; tells how many users got something."""
        emptied = [self.holds[run_id].user_id for run_id in run_ids if self._empty(run_id)]
        return len(set(emptied))

    def _empty(self, run_id: UUID) -> int:
        hold = self.holds[run_id]
        back = hold.amount + hold.pool
        self.holds[hold.root_id].taken -= hold.amount
        hold.amount = hold.pool = 0
        self._pay(hold.user_id, -back)
        return back

    def _pay(self, user_id: UUID, amount: int) -> None:
        if amount:
            self.balance[user_id] = self.balance.get(user_id, 0) - amount
