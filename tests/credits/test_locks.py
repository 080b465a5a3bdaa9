"""What many do at once with what is there for fewer."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import Sum
from pytest_django import Settings

from accounts.models import Role
from credits import holds, ledger
from credits.adjustments import adjust, decide
from credits.errors import NeedsAnother
from credits.holds import Wish
from credits.kinds import CREDIT, Kind
from credits.models import Adjustment, Hold, Transfer
from executions.engine.purse import Granted, Purse
from executions.engine.store import Store
from tests import make
from tests.credits.test_ledger import at_once


@pytest.mark.timeout(1200)
def test_a_hundred_runs_that_start_set_aside_one_at_a_balance_of_37(a_hundred_connections: None, turns: int) -> None:
    for _ in range(turns):
        user_id = uuid4()
        ledger.credit(user_id, 37, kind=Kind.GRANT, key=f"grant:{user_id}")
        at_once(100, lambda _, u=user_id: holds.place(u, [Wish(uuid4(), 1)]))
        held = Hold.objects.filter(user_id=user_id)
        assert (held.count(), held.aggregate(held=Sum("amount"))["held"]) == (100, 37)
        assert ledger.settled_balance(user_id) == 0
        for run_id in held.values_list("run_id", flat=True)[:40]:
            holds.release(run_id)
        left = held.aggregate(held=Sum("amount"))["held"]
        assert ledger.settled_balance(user_id) + left == 37


@pytest.mark.timeout(1200)
def test_runs_under_way_need_one_more_a_hundred_times_at_a_balance_of_37(
    a_hundred_connections: None, settings: Settings, turns: int
) -> None:
    settings.RUNS_PER_USER = settings.RUNS_PER_GRAPH = 1000
    for _ in range(turns):
        owner = make.a_user()
        graph_id = make.a_graph(owner).graph_id
        ledger.credit(owner.pk, 37, kind=Kind.GRANT, key=f"grant:{owner.pk}")
        runs = [make.a_run(owner, graph_id, price_version=0).pk for _ in range(20)]
        granted = asyncio.run(_need_one_more(runs, 5))
        assert sum(each.amount for each in granted) == 37
        assert ledger.settled_balance(owner.pk) == 0
        assert Hold.objects.filter(user_id=owner.pk).aggregate(held=Sum("amount"))["held"] == 37


async def _need_one_more(runs: list[Any], times: int) -> list[Granted]:
    store = Store("a test", len(runs))
    await store.open()
    try:
        purse = Purse(store)
        claims = [claim for run_id in runs if (claim := await store.claim(run_id)) is not None]
        await asyncio.gather(*map(purse.open, claims))
        return await asyncio.gather(*[purse.reserve(claim, 1) for claim in claims * times])
    finally:
        await store.close()


@pytest.mark.timeout(1200)
def test_of_those_who_decide_about_a_large_change_one_does(
    a_hundred_connections: None, settings: Settings, turns: int
) -> None:
    settings.CREDITS = "paid"
    for _ in range(turns):
        user = make.a_user()
        asking, *others = [make.a_user(role=Role.ADMIN) for _ in range(9)]
        with pytest.raises(NeedsAnother):
            adjust(asking, user.pk, 20_000 * CREDIT, reason="for the pilot")
        wish_id = Adjustment.objects.get(user_id=user.pk).pk
        seen = at_once(8, lambda n, o=others, w=wish_id: decide(o[n], w, approve=n % 2 == 0).approved)
        wish = Adjustment.objects.get(pk=wish_id)
        assert seen == {wish.approved: 1, "decided_before": 7}
        assert Transfer.objects.filter(user_id=user.pk).count() == int(bool(wish.approved))
