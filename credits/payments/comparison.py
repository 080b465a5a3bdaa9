"""Our top-ups beside Stripe's own books: what came in and went back there was bought and went back here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from credits.models import Reversal, TopUp, TopUpStatus
from credits.payments import processor
from credits.payments.objects import TOP_UP, Stage

# The news of a payment may come so late: Stripe gives up telling after three days.
_LATE = timedelta(days=4)
_NEWS_UNDER_WAY = timedelta(minutes=5)
LEFT_OUT = f"without those of the last {_NEWS_UNDER_WAY // timedelta(minutes=1)} minutes"
_CAME_IN = ("charge", "payment")
_WENT_BACK = ("refund", "payment_refund", "adjustment")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A payment, refund or dispute of which Stripe and our rows say different things, in cents; None is nothing."""

    stripe_id: str
    there: int | None
    here: int | None

    def __str__(self) -> str:
        there, here = ("nothing" if cents is None else f"{cents} cents" for cents in (self.there, self.here))
        return f"{self.stripe_id}: {there} at Stripe, {here} here"


@dataclass(slots=True)
class Comparison:
    """How many payments and reversals there are on either side, and where the sides differ."""

    payments: int = 0
    reversals: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Line:
    """A payment or reversal in Stripe's books."""

    payment_id: str
    cents: int
    at: int


def compare_lately(since: datetime) -> Comparison:
    """Compare what moved from `since` on, but for the last minutes: their news may be under way. Raises as below."""
    return compare_with_stripe(since, timezone.now() - _NEWS_UNDER_WAY)


def compare_with_stripe(since: datetime, until: datetime) -> Comparison:
    """Compare what moved from `since` on and before `until`, which should be some minutes ago.

    Payments of the same Stripe account that are not for a top-up are left out. Raises `PaymentsOff` and
    `PaymentsUnavailable`.
    """
    payments, reversals = _books(processor.export(int((since - _LATE).timestamp()), int((until + _LATE).timestamp())))
    compared = Comparison()

    rows = TopUp.objects.filter(status=TopUpStatus.PAID, paid__gt=0)
    here = dict(rows.filter(payment_id__in=payments).values_list("payment_id", "paid"))
    lately = dict(rows.filter(paid_at__gte=since, paid_at__lt=until).values_list("payment_id", "paid"))
    compared.payments = _compare(compared.mismatches, payments, {**here, **lately}, lately, (since, until))

    paid_by = [line.payment_id for line in reversals.values()]
    ours = set(TopUp.objects.filter(payment_id__in=paid_by).values_list("payment_id", flat=True))
    reversals = {stripe_id: line for stripe_id, line in reversals.items() if line.payment_id in ours}
    known = Reversal.objects.exclude(top_up=None)
    here = dict(known.filter(stripe_id__in=reversals).values_list("stripe_id", "amount"))
    taken = known.filter(stage=Stage.TAKEN, taken_at__gte=since, taken_at__lt=until)
    lately = dict(taken.values_list("stripe_id", "amount"))
    compared.reversals = _compare(compared.mismatches, reversals, {**here, **lately}, lately, (since, until))
    return compared


def _compare(
    mismatches: list[Mismatch],
    there: Mapping[str, _Line],
    here: Mapping[str | None, int | None],
    lately: Iterable[str | None],
    between: tuple[datetime, datetime],
) -> int:
    """Add where the sides differ; returns how many things there were to compare."""
    since, until = (time.timestamp() for time in between)
    recent = {stripe_id for stripe_id, line in there.items() if since <= line.at < until}
    wanted = sorted(recent | {str(stripe_id) for stripe_id in lately})
    for stripe_id in wanted:
        line = there.get(stripe_id)
        sides = (line.cents if line else None, here.get(stripe_id))
        if sides[0] != sides[1]:
            mismatches.append(Mismatch(stripe_id, *sides))
    return len(wanted)


def _books(export: Iterable[Mapping[str, Any]]) -> tuple[dict[str, _Line], dict[str, _Line]]:
    """The payments for top-ups by intent, and all reversals by id."""
    payments: dict[str, _Line] = {}
    reversals: dict[str, _Line] = {}
    for line in export:
        source = line["source"]
        payment_id = source.get("payment_intent") if isinstance(source, Mapping) else None
        if not payment_id:
            continue
        found = _Line(payment_id, abs(line["amount"]), line["created"])
        if line["type"] in _CAME_IN and TOP_UP in (source.get("metadata") or {}):
            payments[payment_id] = found
        elif line["type"] in _WENT_BACK:
            reversals[source["id"]] = found
    return payments, reversals
