"""What the activations of one run cost, and whether it has set enough aside for them. Pure.

Before a block runs its price is promised out of what the run holds, so that several at once cannot promise the same
credits. What it really used is known when it has ended, and is charged then: more than was promised comes out of the
hold, or else of the balance.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from credits.kinds import MOST
from credits.price_lists import Entry
from executions.engine.rows import Claim
from executions.engine.state import Activation
from executions.prices import ACTIVATIONS_PER_FEE, FEE, Prices, due, matching

_MODEL_LENGTH = 200


@dataclass(slots=True)
class Charge:
    """What a run has used, in micro-credits, once for its key; `beyond` of it a run with a budget has not set aside."""

    key: str
    amount: int
    reason: str
    metadata: Mapping[str, Any]
    beyond: int = 0


def within(charges: Iterable[Charge], granted: int) -> list[Charge]:
    """The charges when `granted` is set aside for what is beyond, the first ones first; the rest is not charged."""
    kept = []
    for charge in charges:
        paid = min(charge.beyond, granted)
        granted -= paid
        amount = charge.amount - charge.beyond + paid
        if amount:
            kept.append(replace(charge, amount=amount, beyond=0) if charge.beyond else charge)
    return kept


class Meter:
    """The credits of one run, as its driver sees them."""

    def __init__(self, claim: Claim, prices: Prices) -> None:
        self._claim = claim
        self._prices = prices
        self._key = f"use:{claim.run_id}"
        self._about_run = _about(claim)
        self._free = claim.held or 0
        self._promised = 0
        self._spent = 0
        self._finished = claim.node_count
        self._fees_promised = claim.node_count // ACTIVATIONS_PER_FEE
        self._is_open = claim.held is not None
        self._has_called = False

    @property
    def is_open(self) -> bool:
        """Whether the run has a hold that can be added to."""
        return self._is_open

    @property
    def may_hold(self) -> bool:
        """Whether something may be on hold for the run: by itself, by an earlier worker, or by what it called."""
        return self._is_open or self._has_called or self._claim.fence > 1

    def call(self) -> None:
        """The run calls another, which may set credits aside for both."""
        self._has_called = True

    @property
    def ahead(self) -> int:
        """What the run had better take together with what it needs, so that it need not ask for each block.

        Nothing where others share its budget: what it does not need could be missing there.
        """
        return 0 if self._claim.is_capped else self._spent + self._free + self._promised

    def need(self, activations: Sequence[Activation], begun: int) -> int:
        """What is to be promised before the blocks of these run, when `begun` activations of the run have begun."""
        return self._fees(begun) + sum(map(self._price, activations))

    def promise(self, activation: Activation, begun: int) -> bool:
        """Promise what the activation needs; false if the run does not hold as much."""
        price = self._price(activation)
        need = self._fees(begun) + price
        if need > self._free:
            return False
        self._free -= need
        self._fees_promised = max(self._fees_promised, begun // ACTIVATIONS_PER_FEE)
        self._set_aside(activation, price)
        return True

    def restore(self, activation: Activation) -> None:
        """The activation began under another worker: what was promised for it is part of the hold.

        Where the hold was emptied since, it is promised anew before the block goes on.
        """
        price = self._price(activation)
        if price <= self._free:
            self._free -= price
            self._set_aside(activation, price)

    @property
    def free(self) -> int:
        """How many micro-credits the run holds that are promised to nothing."""
        return self._free

    def opened(self) -> None:
        """The run has a hold now."""
        self._is_open = True

    def receive(self, amount: int) -> None:
        """The hold was added to."""
        self._free += amount

    def let_go(self, activation: Activation) -> None:
        """Nothing comes of the activation: it costs nothing."""
        self._free += self._take_back(activation)

    def charge(self, activation: Activation) -> Charge | None:
        """What an activation that ended well has cost, at most what can be counted; None if it was free."""
        entry = self._entry(activation)
        promised = self._take_back(activation)
        if entry is None:
            return None
        # No price is below a micro-credit, so that more than this would cost no more.
        quantity = min(_quantity(entry, activation), MOST)
        if entry.per != "run":
            activation.quantity = quantity
        amount = due(entry, quantity)
        beyond = max(0, amount - promised - self._free) if self._claim.is_capped else 0
        self._free = max(0, self._free + promised - amount)
        if not amount:
            return None
        self._spent += amount
        node = activation.node
        return Charge(
            key=f"{self._key}:{node.id}:{activation.ordinal}:{entry.per}",
            amount=amount,
            reason=f"{node.block.name}: {quantity:.6g} × {entry.per}",
            metadata={
                **self._about_run,
                "node_id": node.id,
                "node_exec_id": activation.id,
                "block_id": node.block.id,
                "block": node.block.name,
                "input": entry.match,
                **_model_of(activation),
                "per": entry.per,
                "quantity": quantity,
            },
            beyond=beyond,
        )

    def count(self) -> Charge | None:
        """One more activation has ended; returns the fee if it is due."""
        self._finished += 1
        if self._finished % ACTIVATIONS_PER_FEE:
            return None
        turn = self._finished // ACTIVATIONS_PER_FEE
        beyond = 0
        if turn > self._fees_promised:
            self._fees_promised = turn
            beyond = max(0, FEE - self._free) if self._claim.is_capped else 0
            self._free = max(0, self._free - FEE)
        self._spent += FEE
        return Charge(f"{self._key}:fee:{turn}", FEE, f"{ACTIVATIONS_PER_FEE} activations", self._about_run, beyond)

    def _fees(self, begun: int) -> int:
        return FEE * max(0, begun // ACTIVATIONS_PER_FEE - self._fees_promised)

    def _price(self, activation: Activation) -> int:
        """What is to be promised for the activation, unless it was."""
        entry = None if activation.promised else self._entry(activation)
        return 0 if entry is None else entry.amount

    def _set_aside(self, activation: Activation, price: int) -> None:
        activation.promised += price
        self._promised += price

    def _take_back(self, activation: Activation) -> int:
        promised, activation.promised = activation.promised, 0
        self._promised -= promised
        return promised

    def _entry(self, activation: Activation) -> Entry | None:
        entries = self._prices.of(activation.node.block)
        entry = matching(entries, activation.input_data or {}) if entries else None
        return entry if entry is not None and entry.amount else None


def _about(claim: Claim) -> dict[str, Any]:
    key_id = claim.api_key_id
    return {
        "graph_exec_id": claim.run_id,
        "graph_id": claim.graph_id,
        "price_version": claim.price_version,
        **({} if key_id is None else {"api_key_id": key_id}),
    }


def _quantity(entry: Entry, activation: Activation) -> float:
    match entry.per:
        case "second":
            # A timer may go off late, and a block that waits has its time anew: nobody pays for more than was allowed.
            most = activation.node.policy.most_seconds
            return activation.seconds if most is None else min(activation.seconds, most)
        case "byte":
            return activation.given_bytes
        case "token":
            return activation.used_tokens
        case "item":
            return activation.output_count
        case _:
            return 1


def _model_of(activation: Activation) -> dict[str, str]:
    """The name of the model that the block was told to use, if it was."""
    model = (activation.input_data or {}).get("model")
    return {"model": model[:_MODEL_LENGTH]} if isinstance(model, str) else {}
