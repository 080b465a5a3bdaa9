"""Whether the audit finds what does not fit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils.timezone import now

from accounts.models import User
from core import json
from credits.kinds import CREDIT
from credits.models import Account, Hold, Transfer
from executions import services
from executions.audit import audit
from executions.engine.engine import Engine
from executions.models import GraphExecution, NodeExecution, Review
from executions.reviews import Verdict, decide
from graphs.blocks.registry import BLOCKS
from graphs.models import Graph
from tests.drawing import block_id, draw
from tests.executions.conftest import Charge, Run, ended, eventually
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
    with pytest.raises(CommandError, match="6 mismatches"):
        call_command("audit_ledger", days=1)
    told = capsys.readouterr().out
    assert "All accounts together hold 1000000 micro-credits, not 0" in told
    assert f"User {owner.pk} has 9000000 and 0 on hold, but transfers of 8000000" in told
    assert f"Run {done.pk} has ended, its hold is open" in told
    assert f"Run {done.pk} has used 2000000, its hold says 1" in told
    assert "costs 2000000, and was charged None" in told
    assert "was charged 2000000, and its node pays for" in told
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(ordinal=0)
    Account.objects.update(balance=8 * CREDIT)
    Hold.objects.update(spent=2 * CREDIT, released_at=now())
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(status="FAILED")
    assert [problem.endswith("no such node is COMPLETED") for problem in audit().problems] == [True]
    NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead")).update(status="COMPLETED")


def meddled(statement: str, *arguments: Any) -> list[str]:
    """What the audit says after a statement against which the books are guarded; it is taken back again."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, arguments)
        assert cursor.rowcount > 0
        found = audit().problems
        transaction.set_rollback(True)
    return found


COPY = """
INSERT INTO credits_transfer (key, user_id, debit, credit, amount, kind, metadata, run_id)
SELECT %s, user_id, debit, credit, amount, kind, metadata, run_id FROM credits_transfer WHERE key = %s
"""


def test_the_audit_finds_every_kind_of_wrong_charge(owner: User, run: Run, price: Charge) -> None:
    prices: dict[str, tuple[float, str]] = {
        "ProbeKeyed": (2, "run"), "ProbeRead": (0.25, "item"), "ProbePure": (0.01, "byte"),
        "ProbeTokens": (0.001, "token"), "ProbeThread": (3, "second"),
    }  # fmt: skip
    for block, (amount, per) in prices.items():
        price(block, amount, per)
    top_up(owner, 50)
    graph = draw(
        owner,
        {
            "ProbeKeyed": ("ProbeKeyed", {}),
            "ProbeRead": ("ProbeRead", {"times": 3}),
            "ProbePure": ("ProbePure", {"value": "abc"}),
            "ProbeTokens": ("ProbeTokens", {"tokens": [100, 20]}),
            "ProbeThread": ("ProbeThread", {"seconds": 0.01}),
            "items": ("StepThroughItems", {"items": list(range(100))}),
            "free": ("StoreValue", {}),
        },
        ["items.item -> free.input"],
    )
    done = run(graph)
    nodes = NodeExecution.objects.filter(run=done.pk)
    seconds = nodes.get(node_id=graph.nodes["ProbeThread"]).quantity
    assert seconds is not None
    assert seconds > 0.01
    costs = {"ProbeKeyed": 2_000_000, "ProbeRead": 750_000, "ProbePure": 50_000, "ProbeTokens": 120_000,
             "ProbeThread": math.ceil(seconds * 3 * CREDIT)}  # fmt: skip
    quantities = dict(nodes.exclude(quantity=None).values_list("node_id", "quantity"))
    expected = {"ProbeRead": 3, "ProbePure": 5, "ProbeTokens": 120, "ProbeThread": seconds}
    assert quantities == {graph.nodes[name]: quantity for name, quantity in expected.items()}
    assert audit().problems == []

    for block, (_, per) in prices.items():
        key, due = f"use:{done.pk}:{graph.nodes[block]}:0:{per}", costs[block]
        changed = "UPDATE credits_transfer SET amount = amount + %s WHERE key = %s"
        assert f"{key} costs {due}, and was charged {due + 1}" in meddled(changed, 1, key)
        assert f"{key} costs {due}, and was charged {due - 1}" in meddled(changed, -1, key)
        gone = meddled("DELETE FROM credits_transfer WHERE key = %s", key)
        assert f"{key} costs {due}, and was charged None" in gone
        again = key.replace(":0:", ":1:")
        assert f"{again} was charged {due}, and its node pays for {key}" in meddled(COPY, again, key)
        used_more = "UPDATE executions_nodeexecution SET quantity = quantity * 2 WHERE run_id = %s AND node_id = %s"
        if per not in ("run", "item"):
            [problem] = meddled(used_more, done.pk, graph.nodes[block])
            assert problem.endswith(f", and was charged {due}")

    free = nodes.filter(node_id=graph.nodes["free"]).order_by("ordinal")[7]
    key = f"use:{done.pk}:{free.node_id}:7:run"
    [copied] = Transfer.objects.filter(key__startswith=f"use:{done.pk}:{graph.nodes['ProbeKeyed']}")
    charge_free = COPY.replace("kind, metadata, run_id FROM", "kind, metadata || %s::jsonb, run_id FROM")
    named = json.encode({"node_exec_id": str(free.pk)}).decode()
    assert f"{key} was charged 2000000, and its node is free" in meddled(charge_free, key, named, copied.key)
    [nothing_left] = meddled("UPDATE executions_graphexecution SET spent = 0 WHERE id = %s", done.pk)
    assert nothing_left.endswith("its row says 0")
    assert f"Run {done.pk} has used 0, its row says {done.spent}" in meddled(
        "DELETE FROM credits_transfer WHERE run_id = %s", done.pk
    )


def test_a_filter_that_looks_into_a_large_value_counts_in_the_audit_as_well(
    owner: User, run: Run, price: Charge
) -> None:
    price("ProbeRead", 2, match={"value": {"quality": "high"}})
    price("ProbeRead", 5)
    top_up(owner, 10)
    done = run(draw(owner, {"a": ("ProbeRead", {"value": {"quality": "high", "picture": "x" * 40_000}})}))

    assert charges(done) == [("ProbeRead", 2.0)]
    assert audit().problems == []


def test_what_a_person_permitted_is_what_is_paid_for(
    owner: User, engine: Engine, price: Charge, monkeypatch: pytest.MonkeyPatch
) -> None:
    price("ProbeRead", 2, match={"value": "small"})
    price("ProbeRead", 5)
    top_up(owner, 10)
    monkeypatch.setattr(type(BLOCKS.get(block_id("ProbeRead"))), "sensitive", True)
    graph = draw(owner, {"a": ("ProbeRead", {"value": "small"})})
    Graph.objects.filter(pk=graph.id).update(sensitive_action_safe_mode=True)
    run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([run.pk])
    eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status="REVIEW").exists())
    asked = Review.objects.get()
    decide(owner.pk, [Verdict(asked.node_execution_id, approved=True, data={**asked.payload, "value": "large"})])

    assert (charges(ended(run.pk)), audit().problems) == ([("ProbeRead", 5.0)], [])


def test_the_audit_finds_fees_that_are_missing_or_too_many(owner: User, run: Run) -> None:
    top_up(owner, 5)
    numbers = ("StepThroughItems", {"items": list(range(215))})
    done = run(draw(owner, {"items": numbers, "echo": ("StoreValue", {})}, ["items.item -> echo.input"]))
    first, second = f"use:{done.pk}:fee:1", f"use:{done.pk}:fee:2"
    told = f"Run {done.pk} is to pay 2 × 1000000 for 216 activations, and paid"

    assert f"{told} 1000000 as {first}" in meddled("DELETE FROM credits_transfer WHERE key = %s", second)
    assert f"{told} None" in meddled("DELETE FROM credits_transfer WHERE run_id = %s", done.pk)
    third = second.replace("fee:2", "fee:3")
    paid = f"1000000 as {first}, 1000000 as {second}"
    assert f"{told} {paid}, 1000000 as {third}" in meddled(COPY, third, second)
    changed = meddled("UPDATE credits_transfer SET amount = 5 WHERE key = %s", first)
    assert f"{told} 5 as {first}, 1000000 as {second}" in changed


@pytest.mark.parametrize(
    ("per", "amount", "missed"),
    [("item", 2, "6000000"), ("byte", 1, "1 to 2147483647000000"), ("second", 5, "1 to 2147483647000000")],
)
def test_the_audit_misses_charges_of_rows_that_do_not_tell_how_much_was_used(
    owner: User, run: Run, price: Charge, per: str, amount: float, missed: str
) -> None:
    price("ProbeRead", amount, per)
    top_up(owner, 50)
    done = run(chain(owner, "ProbeRead", times=3))
    nodes = NodeExecution.objects.filter(run=done.pk, block_id=block_id("ProbeRead"))
    nodes.update(quantity=None)
    key = f"use:{done.pk}:{nodes.get().node_id}:0:{per}"
    paid = Transfer.objects.get(key=key).amount

    assert audit().problems == []
    assert f"{key} costs {missed}, and was charged None" in meddled("DELETE FROM credits_transfer WHERE key = %s", key)
    more = meddled("UPDATE credits_transfer SET amount = amount + 1 WHERE key = %s", key)
    assert f"{key} costs {paid}, and was charged {paid + 1}" in more


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
    with pytest.raises(CommandError, match="4 mismatches"):
        call_command("audit_ledger")
    told = capsys.readouterr().out
    assert "costs 3000000, and was charged None" in told
    assert "costs 2000000, and was charged None" in told
    nodes.update(ordinal=0)
