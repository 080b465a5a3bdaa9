"""A run that has used up its owner's credits, and the card that lets it go on."""

from collections.abc import Callable

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits import ledger, price_lists, tasks
from credits.kinds import CREDIT, Kind
from credits.models import Customer, PriceEntry, TopUp
from executions import services
from executions.audit import audit_on_record
from executions.engine.engine import Engine
from executions.kinds import Status
from executions.models import GraphExecution
from tests.accounts.mailbox import waiting
from tests.drawing import block_id, draw
from tests.executions.conftest import ended, eventually
from tests.executions.test_engine import output, outputs
from tests.fake_stripe import selling


def test_a_run_that_used_everything_up_goes_on_when_the_card_was_charged(
    owner: User,
    engine: Engine,
    client_of: Callable[[User], APIClient],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.CREDITS, settings.SWEEP_SECONDS = "paid", 0.2
    PriceEntry.objects.create(block=block_id("ProbeRead"), position=0, amount=400 * CREDIT, per="run", match={})
    price_lists.publish("a test", "reading costs 400")
    ledger.credit(owner.pk, 900 * CREDIT, kind=Kind.GRANT, key="grant:1")
    reads: dict[str, tuple[str, dict[str, int]]] = {name: ("ProbeRead", {}) for name in ("one", "two", "three")}
    links = ["one.value -> two.value", "two.value -> three.value", "three.value -> out.value"]
    graph = draw(owner, {**reads, "one": ("ProbeRead", {"value": 1}), "out": output()}, links)
    with selling(settings, monkeypatch) as stripe:
        client_of(owner).get("/api/credits/manage")
        customer = Customer.objects.get(user=owner)
        stripe.account.add_card(customer.stripe_id)
        Customer.objects.update(auto_threshold=500, auto_amount=1000)

        run = services.start_run(graph.id, 1, user_id=owner.pk, inputs={})
        engine.ring([run.pk])
        eventually(lambda: GraphExecution.objects.filter(pk=run.pk, status=Status.WAITING).exists())
        waiting()
        for _ in range(2):
            tasks.notice_low()
        charged = [message for message in waiting() if message["task"] == "credits.top_up"]
        for message in charged:
            tasks.top_up(message["user_id"], message["occasion"])
        done = ended(run.pk)

        assert (done.status, outputs(done)) == ("COMPLETED", {"out": [1]})
        assert TopUp.objects.get().attempt == f"auto:{owner.pk}:{run.pk}"
        assert ledger.settled_balance(owner.pk) == (900 + 1000 - 3 * 400) * CREDIT
        report = audit_on_record()
        assert (report.problems, report.payments, report.billable_nodes) == ([], 0, 3)
