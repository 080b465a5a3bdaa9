"""How a run pays for what it begins: blocks are held back until it has set aside what they cost.

A run that is not metered holds nothing back.
"""

import asyncio
import math
from collections.abc import Sequence

from executions.engine.journal import Journal
from executions.engine.meter import Meter, within
from executions.engine.purse import Purse
from executions.engine.rows import Claim
from executions.engine.state import Activation
from executions.engine.waits import Waits, is_unfunded, outputs_before

# How often a run that does something else looks whether its user has topped up.
CREDITS_DELAY = 5.0


class Payer:
    """Asks for the credits of one run, and keeps what has to wait for them. The journal's meter counts them."""

    def __init__(self, claim: Claim, journal: Journal, waits: Waits, purse: Purse) -> None:
        self._claim = claim
        self._journal = journal
        self._waits = waits
        self._purse = purse
        self._loop = asyncio.get_running_loop()
        self._held_back: list[Activation] = []
        self._asked_at = -math.inf
        # The budget that something waits for which it, not the balance, does not allow.
        self.over_budget: str | None = None

    def restore(self, activations: Sequence[Activation]) -> None:
        """These began under another worker: what was set aside for them is theirs."""
        if self._journal.meter is not None:
            for activation in activations:
                if not is_unfunded(activation):
                    self._journal.meter.restore(activation)

    def admits(self, activation: Activation) -> bool:
        """Whether the run has set aside what the activation costs; if not, `pay` asks for it later."""
        if self._promise(activation):
            return True
        self._held_back.append(activation)
        return False

    @property
    def is_due(self) -> bool:
        """Whether there is something to ask credits for, now."""
        return bool(self._held_back) or self.seconds_left() <= 0

    def seconds_left(self) -> float:
        """In how many seconds to look again whether there are credits that are waited for."""
        return self._asked_at + CREDITS_DELAY - self._loop.time() if self._waits.unfunded() else math.inf

    async def pay(self) -> list[Activation]:
        """Set aside what activations need that were held back, and what others wait for.

        Returns those held back that may run now; those for which there is not enough wait. The others are funded.
        """
        held_back, self._held_back = self._held_back, []
        waiting = self._waits.unfunded()
        capped_by = await self._reserve([*waiting, *held_back])
        self.over_budget = None
        for activation in waiting:
            if self._promise(activation):
                self._waits.fund(activation)
            else:
                self.over_budget = capped_by
        paid = []
        for activation in held_back:
            if self._promise(activation):
                paid.append(activation)
            else:
                self.over_budget = capped_by
                self._wait(activation)
        return paid

    async def collect(self) -> None:
        """Set aside what was measured beyond what is promised; what the budget does not allow is not charged."""
        batch, meter = self._journal.batch, self._journal.meter
        beyond = sum(charge.beyond for charge in batch.charges)
        if meter is not None and beyond:
            await self._open(meter)
            granted = await self._purse.reserve(self._claim, beyond, may_owe=True)
            batch.charges = within(batch.charges, granted.amount)

    def put_off(self, paid: Sequence[Activation]) -> None:
        """What is held back, and what is paid for and has no room to run, waits in its row.

        After a commit it must not look as if it had run, nor be missing.
        """
        for activation in paid:
            self._wait(activation)
            self._waits.fund(activation)
        if self._held_back:
            held_back, self._held_back = self._held_back, []
            for activation in held_back:
                self._wait(activation)
            self._asked_at = -math.inf

    def clear(self) -> None:
        """Hold nothing back any more: the run ends."""
        self._held_back.clear()

    def least_needed(self) -> int | None:
        """How many more micro-credits the cheapest of the activations that wait for some needs, if any would help."""
        meter, unfunded = self._journal.meter, self._waits.unfunded()
        if self.over_budget or meter is None or not unfunded:
            return None
        cheapest: int = min(each.waits[-1]["credits"] for each in unfunded)
        return max(1, cheapest - meter.free)

    async def _reserve(self, activations: Sequence[Activation]) -> str | None:
        """Set aside what these need, or less; the budget that does not allow more, if it is one."""
        meter = self._journal.meter
        if meter is None:
            return None
        await self._open(meter)
        self._asked_at = self._loop.time()
        granted = await self._purse.reserve(self._claim, self._need(activations), meter.ahead)
        meter.receive(granted.amount)
        return granted.capped_by

    async def _open(self, meter: Meter) -> None:
        if not meter.is_open:
            await self._purse.open(self._claim)
            meter.opened()

    def _promise(self, activation: Activation) -> bool:
        meter = self._journal.meter
        return meter is None or meter.promise(activation, self._journal.begun)

    def _need(self, activations: Sequence[Activation]) -> int:
        meter = self._journal.meter
        return 0 if meter is None else meter.need(activations, self._journal.begun)

    def _wait(self, activation: Activation) -> None:
        price = self._need([activation]) or activation.promised
        self._waits.add(activation, {"credits": price, "outputs": outputs_before(activation)})
        self._journal.tell(activation)
