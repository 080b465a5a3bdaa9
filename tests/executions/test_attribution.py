"""Whose use it is: what a run uses counts for the API key that it was started with, and for the model it names."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from pytest_django import Settings

from accounts import keys
from accounts.models import ApiKeyPermission, User
from credits import ledger, price_lists
from credits.kinds import CREDIT, Kind
from credits.models import PriceEntry, Transfer
from executions.engine.engine import Engine
from executions.models import GraphExecution
from tests import make
from tests.drawing import block_id, draw
from tests.executions.conftest import ended


def test_use_counts_for_the_api_key_and_the_model(
    owner: User, engine: Engine, settings: Settings, client_of: Callable[[User | None], Any]
) -> None:
    settings.CREDITS = "paid"
    PriceEntry.objects.create(block=block_id("ProbeRead"), amount=2 * CREDIT)
    price_lists.publish("a test", "2")
    ledger.credit(owner.pk, 100 * CREDIT, kind=Kind.TOP_UP, key="topup:1")
    called = draw(owner, {"a": ("ProbeRead", {"value": 1, "model": "gpt-small"})})
    graph = draw(owner, {"b": ("ProbeRead", {"value": 1, "model": ["odd"]}), "call": make.an_agent(str(called.id))})
    key, text = keys.create_key(owner, "program", [ApiKeyPermission.EXECUTE_GRAPH])
    program = client_of(None)
    program.credentials(HTTP_X_API_KEY=text)

    started = program.post(f"/external-api/v1/graphs/{graph.id}/execute/1", {}, format="json")
    assert started.status_code == 200
    own = client_of(owner).post(f"/api/graphs/{called.id}/execute/1", {}, format="json")
    for run in (started, own):
        engine.ring([UUID(run.json()["id"])])
        assert ended(UUID(run.json()["id"])).status == "COMPLETED"

    keyed = GraphExecution.objects.filter(api_key_id=key.pk)
    assert {run.graph_id for run in keyed} == {graph.id, called.id}
    paid = Transfer.objects.filter(kind=Kind.USAGE).values_list("metadata__api_key_id", "metadata__model")
    assert sorted(paid, key=str) == sorted(
        [(str(key.pk), None), (str(key.pk), "gpt-small"), (None, "gpt-small")], key=str
    )
    usage = client_of(owner).get("/api/credits/usage", {"by": "api_key"}).json()["items"]
    assert [(each["name"], each["amount"]) for each in usage] == [(str(key.pk), 4), ("", 2)]
    models = client_of(owner).get("/api/credits/usage", {"by": "model"}).json()["items"]
    assert [(each["name"], each["amount"]) for each in models] == [("gpt-small", 4), ("", 2)]
