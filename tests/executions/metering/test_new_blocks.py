"""Blocks that a release brings, and what they cost in runs that began before they had a price."""

from collections.abc import Callable

import pytest

from accounts.models import User
from credits.models import PriceList
from executions import prices, services
from executions.engine.engine import Engine
from graphs.blocks.registry import BLOCKS
from tests.drawing import block_id
from tests.executions.conftest import ended
from tests.executions.metering.conftest import chain, charges, top_up


def test_a_block_that_was_free_when_a_run_began_stays_free_in_it(
    owner: User, engine: Engine, release: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    top_up(owner, 50)
    new = block_id("ProbePure")
    known = [block for block in BLOCKS.all() if block.id != new]
    with monkeypatch.context() as older:
        older.setattr(BLOCKS, "all", lambda: known)
        release()
    assert new not in PriceList.objects.latest("pk").declared
    release()
    run = services.start_run(chain(owner, "ProbePure").id, 1, user_id=owner.pk, inputs={}, ring=False)
    began_with = PriceList.objects.latest("pk")
    assert run.price_version == began_with.pk
    assert (began_with.made_by, began_with.declared[new]) == ("migrate", [])
    release(ProbePure="2")
    engine.ring([run.pk])
    ended(run.pk)
    assert charges(run) == []


def test_a_release_without_other_blocks_or_prices_makes_no_version(transactional_db: None) -> None:
    made = list(PriceList.objects.values_list("pk", flat=True))
    prices.record_declared()
    assert len(made) == 1
    assert list(PriceList.objects.values_list("pk", flat=True)) == made
