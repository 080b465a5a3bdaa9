"""Whether the audit finds what does not fit."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from accounts.models import User
from credits.kinds import CREDIT
from credits.models import Account, Hold
from executions.audit import audit
from executions.models import NodeExecution
from graphs.blocks.registry import BLOCKS
from tests.drawing import block_id, draw
from tests.executions.conftest import Charge, Run
from tests.executions.metering.conftest import chain, charges, top_up


def test_the_audit_finds_what_does_not_fit(owner: User, run: Run, price: Charge, capsys: Any) -> None:
    price("ProbeRead", 2)
    top_up(owner, 10)
    done = run(chain(owner, "ProbeRead"))
    call_command("audit_ledger")
    told = capsys.readouterr().out
    assert "1 accounts, 2 transfers\n1 nodes with a price\nStripe was not asked\n0 mismatches" in told

    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(ordinal=5)
    Account.objects.update(balance=9 * CREDIT)
    Hold.objects.update(spent=1, released_at=None)
    with pytest.raises(CommandError, match="5 mismatches"):
        call_command("audit_ledger", days=1)
    told = capsys.readouterr().out
    assert "All accounts together hold 1000000 micro-credits, not 0" in told
    assert f"User {owner.pk} has 9000000 and 0 on hold, but transfers of 8000000" in told
    assert f"Run {done.pk} has ended, its hold is open" in told
    assert f"Run {done.pk} has used 2000000, its hold says 1" in told
    assert "costs 2000000, and was charged None" in told
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(ordinal=0)
    Account.objects.update(balance=8 * CREDIT)
    Hold.objects.update(spent=2 * CREDIT, released_at=now())
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(status="FAILED")
    assert [problem.endswith("no such node is COMPLETED") for problem in audit().problems] == [True]
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(status="COMPLETED")


@pytest.mark.parametrize(
    ("per", "amount", "costs"), [("item", 2, "6000000"), ("byte", 1, "at least 1"), ("second", 5, "at least 1")]
)
def test_the_audit_misses_charges_for_what_was_measured(
    owner: User, run: Run, price: Charge, per: str, amount: float, costs: str
) -> None:
    price("ProbeRead", amount, per)
    top_up(owner, 50)
    done = run(chain(owner, "ProbeRead", times=3))
    assert audit().problems == []
    nodes = NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead"))
    nodes.update(ordinal=5)
    assert audit().problems == [f"use:{done.pk}:{nodes.get().node_id}:5:{per} costs {costs}, and was charged None"]
    nodes.update(ordinal=0)


def test_nodes_of_a_package_that_is_gone_are_audited_by_the_prices_on_record(
    owner: User, run: Run, price: Charge, release: Callable[..., None], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(ProbePure="2")
    price("ProbeRead", 3)
    top_up(owner, 10)
    done = run(
        draw(owner, {"a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {}), "c": ("ProbeKeyed", {"value": 1})})
    )
    assert sorted(charges(done)) == [("ProbePure", 2.0), ("ProbeRead", 3.0)]
    gone = {block_id("ProbeRead"), block_id("ProbePure"), block_id("ProbeKeyed")}
    left = {block.id: block for block in BLOCKS.all() if block.id not in gone}
    monkeypatch.setitem(BLOCKS.__dict__, "_loaded", (left, ()))
    call_command("audit_ledger")
    assert "2 nodes with a price\nStripe was not asked\n0 mismatches" in capsys.readouterr().out

    nodes = NodeExecution.objects.filter(run=done.pk, block_id__in=gone)
    nodes.update(ordinal=5)
    with pytest.raises(CommandError, match="2 mismatches"):
        call_command("audit_ledger")
    told = capsys.readouterr().out
    assert "costs 3000000, and was charged None" in told
    assert "costs 2000000, and was charged None" in told
    nodes.update(ordinal=0)
