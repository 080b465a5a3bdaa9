"""People who pay for what they use, and books that are right in the end."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from accounts.models import User
from credits import ledger
from credits.kinds import CREDIT, Kind
from credits.models import Transfer
from executions.audit import audit
from executions.models import GraphExecution
from graphs.blocks.base import Price
from graphs.blocks.registry import BLOCKS
from tests.drawing import Drawn, block_id, draw
from tests.executions.test_engine import output


@pytest.fixture(autouse=True)
def paid(settings: Settings) -> None:
    """People pay for what they use."""
    settings.CREDITS = "paid"


@pytest.fixture(autouse=True)
def _balanced(transactional_db: None) -> Iterator[None]:
    """Whatever happened, the books are right in the end."""
    yield
    assert audit().problems == []


def top_up(user: User, amount: float, key: str = "topup:1") -> None:
    ledger.credit(user.pk, int(amount * CREDIT), kind=Kind.GRANT, key=key)


def balance(user: User) -> float:
    return ledger.settled_balance(user.pk) / CREDIT


def charges(run: GraphExecution | None = None) -> list[tuple[str, float]]:
    """The name of the block, and what it cost, in the order of the books."""
    used = Transfer.objects.filter(kind=Kind.USAGE).order_by("id")
    if run is not None:
        used = used.filter(run_id=run.pk)
    return [(transfer.metadata.get("block", "fee"), transfer.amount / CREDIT) for transfer in used]


def chain(owner: User, *blocks: str, **constants: Any) -> Drawn:
    """These blocks one after the other, fed with 1."""
    nodes = {f"n{place}": (block, {**constants, "value": 1}) for place, block in enumerate(blocks)}
    links = [f"n{place}.value -> n{place + 1}.value" for place in range(len(blocks) - 1)]
    return draw(owner, {**nodes, "out": output()}, [*links, f"n{len(blocks) - 1}.value -> out.value"])


@pytest.fixture
def release(transactional_db: None) -> Iterator[Callable[..., None]]:
    """Makes a release whose blocks declare prices, and migrates to it; the database is emptied without them."""
    with pytest.MonkeyPatch.context() as patch:

        def migrate(**declared: str) -> None:
            for name, amount in declared.items():
                patch.setattr(type(BLOCKS.get(block_id(name))), "prices", (Price(Decimal(amount), match={"fail": ""}),))
            call_command("migrate", verbosity=0)

        yield migrate
