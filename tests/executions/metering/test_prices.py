"""Which price counts, and how prices change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import Settings

from accounts.models import Role, User
from credits import price_lists
from credits.kinds import CREDIT
from credits.models import PriceEntry, PriceList
from executions import services
from executions.engine.engine import Engine
from graphs.blocks.registry import BLOCKS
from tests import make
from tests.drawing import block_id, draw
from tests.executions.conftest import Charge, Run, ended
from tests.executions.metering.conftest import chain, charges, top_up


def test_the_first_price_whose_filter_fits_counts(owner: User, run: Run, price: Charge) -> None:
    platform = {"credentials": {"id": "platform"}}
    price("ProbeRead", 7, match={"fail": "no", "log": None})
    price("ProbeRead", 3, match={"value": {"model": "large"}, "hold": ""})
    price("ProbeRead", 1, match={"value": {"model": "small"}, **platform})
    top_up(owner, 100)
    graph = draw(owner, {"a": ("ProbeRead", {"value": {"model": "large", "more": 1}})})
    run(graph)
    run(draw(owner, {"a": ("ProbeRead", {"value": {"model": "small"}})}))

    assert charges() == [("ProbeRead", 3.0)]


def test_a_price_of_a_provider_is_for_its_blocks_without_their_own(
    owner: User, run: Run, price: Charge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in ("ProbeRead", "ProbeKeyed"):
        monkeypatch.setattr(type(BLOCKS.get(block_id(block))), "provider", "probe", raising=False)
    price("provider:probe", 1)
    price("ProbeKeyed", 4)
    top_up(owner, 10)
    run(chain(owner, "ProbeRead", "ProbeKeyed"))

    assert charges() == [("ProbeRead", 1.0), ("ProbeKeyed", 4.0)]


def test_a_run_keeps_the_prices_it_began_with(
    owner: User, engine: Engine, price: Charge, hold: Path, tmp_path: Path
) -> None:
    price("ProbeRead", 1)
    price("ProbeKeyed", 2)
    top_up(owner, 50)
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"hold": str(hold), "value": 1}), "b": ("ProbeKeyed", {})},
        ["a.value -> b.value"],
    )
    first = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([first.pk])
    PriceEntry.objects.filter(block=block_id("ProbeKeyed")).update(amount=9 * CREDIT)
    price_lists.publish("a test", "dearer")
    second = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([second.pk])
    hold.unlink()
    ended(first.pk), ended(second.pk)

    assert charges(first) == [("ProbeRead", 1.0), ("ProbeKeyed", 2.0)]
    assert charges(second) == [("ProbeRead", 1.0), ("ProbeKeyed", 9.0)]


def test_prices_that_a_release_declares_count_for_runs_that_start_after_it(
    owner: User, engine: Engine, release: Callable[..., None]
) -> None:
    top_up(owner, 50)
    release(ProbeRead="1.5")
    release()
    graph = draw(
        owner,
        {"a": ("ProbeRead", {"value": 1}), "b": ("ProbePure", {}), "c": ("ProbeRead", {})},
        ["a.value -> b.value", "b.value -> c.value"],
    )
    before = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    release(ProbeRead="4", ProbePure="2")
    after = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, ring=False)
    engine.ring([before.pk, after.pk])
    ended(before.pk), ended(after.pk)

    assert charges(before) == [("ProbeRead", 1.5), ("ProbeRead", 1.5)]
    assert charges(after) == [("ProbeRead", 4.0), ("ProbePure", 2.0), ("ProbeRead", 4.0)]
    made = list(PriceList.objects.order_by("id"))[1:]
    assert [(each.pk, each.made_by, each.prices) for each in made] == [
        (before.price_version, "migrate", {}),
        (after.price_version, "migrate", {}),
    ]
    price_lists.set_price(block_id("ProbePure"), None, made_by="a test")
    assert PriceList.objects.latest("id").declared == made[1].declared
    release(ProbeRead="0")
    assert PriceList.objects.latest("id").declared[block_id("ProbeRead")][0]["amount"] == 0


def test_the_catalogue_tells_what_blocks_cost(owner: User, price: Charge, client_of: Callable[..., Any]) -> None:
    def costs() -> dict[str, Any]:
        blocks = client_of(owner).get("/api/blocks").json()
        return {block["name"]: block["costs"] for block in blocks if block["costs"]}

    assert costs() == {}
    price("ProbeRead", 3, match={"value": 1})
    price("ProbeRead", 0.25, "token")
    assert costs() == {
        "ProbeRead": [
            {"cost_amount": 3, "cost_filter": {"value": 1}, "cost_type": "run"},
            {"cost_amount": 0.25, "cost_filter": {}, "cost_type": "token"},
        ]
    }


def test_an_operator_changes_prices_and_each_version_stays_on_record(
    client: Any, run: Run, owner: User, settings: Settings
) -> None:
    operator = make.a_user(role=Role.ADMIN)
    client.force_login(operator)
    entry = {"block": block_id("ProbeRead"), "position": 0, "credits": "2", "per": "run", "match": "{}"}
    assert client.post("/admin/credits/priceentry/add/", entry).status_code == 302
    top_up(owner, 10)
    run(chain(owner, "ProbeRead"))
    page = f"/admin/credits/priceentry/{PriceEntry.objects.get().pk}/"
    assert client.post(f"{page}change/", {**entry, "credits": "3.5"}).status_code == 302
    run(chain(owner, "ProbeRead"))
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 302
    run(chain(owner, "ProbeRead"))

    assert charges() == [("ProbeRead", 2.0), ("ProbeRead", 3.5)]
    history = list(PriceList.objects.exclude(made_by="migrate").order_by("id").values_list("made_by", "prices"))
    document = {"per": "run", "match": {}}
    assert history == [
        (operator.email, {block_id("ProbeRead"): [{**document, "amount": 2 * CREDIT}]}),
        (operator.email, {block_id("ProbeRead"): [{**document, "amount": 3_500_000}]}),
        (operator.email, {}),
    ]
    listed = client.get("/admin/credits/pricelist/").content.decode()
    assert "changed: 3.5 credits per run of ProbeRead" in listed
    second = PriceList.objects.get(change__startswith="changed")
    shown = client.get(f"/admin/credits/pricelist/{second.pk}/change/").content.decode()
    assert "<div>ProbeRead: 3.5 credits per run</div>" in shown
    assert block_id("ProbeRead") not in shown
    assert client.get("/admin/credits/hold/", {"q": owner.email}).status_code == 200


def test_an_operator_prices_only_what_there_is_and_in_credits(client: Any) -> None:
    client.force_login(make.a_user(role=Role.ADMIN))
    page = "/admin/credits/priceentry/"
    entry = {"block": block_id("ProbeRead"), "position": 0, "credits": "0.25", "per": "token", "match": ""}
    assert "Select a valid choice" in client.post(f"{page}add/", {**entry, "block": "ProbeRead"}).content.decode()
    for wrong in ("-1", "2147483648", "0.0000001", "many", ""):
        assert "errorlist" in client.post(f"{page}add/", {**entry, "credits": wrong}).content.decode()
    assert (PriceEntry.objects.count(), PriceList.objects.exclude(made_by="migrate").count()) == (0, 0)

    assert client.post(f"{page}add/", entry).status_code == 302
    assert PriceEntry.objects.get().amount == 250_000
    assert "ProbeRead" in client.get(page).content.decode()
    PriceEntry.objects.update(block="provider:gone")
    assert "provider:gone (not installed)" in client.get(page).content.decode()
    shown = client.get(f"{page}{PriceEntry.objects.get().pk}/change/").content.decode()
    assert "provider:gone (not installed)" in shown
    assert 'value="0.25"' in shown


def test_an_operator_gives_a_filter_as_an_object_or_leaves_it_empty(
    client: Any, owner: User, client_of: Callable[..., Any]
) -> None:
    client.force_login(make.a_user(role=Role.ADMIN))
    entry = {"block": block_id("ProbeRead"), "position": 0, "credits": 2, "per": "run"}
    page = "/admin/credits/priceentry/add/"
    for wrong in ('["x"]', "[]", '"x"', "3", "false"):
        assert "Give a JSON object" in client.post(page, {**entry, "match": wrong}).content.decode()
    assert (PriceEntry.objects.count(), PriceList.objects.filter(change__startswith="added").count()) == (0, 0)
    for position, empty in enumerate(("", "null", '""', "{}")):
        assert client.post(page, {**entry, "position": position, "match": empty}).status_code == 302
    assert list(PriceEntry.objects.values_list("match", flat=True)) == [{}] * 4
    with pytest.raises(IntegrityError, match="prices_match_pins_by_name"):
        PriceEntry.objects.update(match=["x"])
    odd = [{"amount": CREDIT, "per": "run", "match": match} for match in (["x"], None)]
    PriceList.objects.create(prices={block_id("ProbeRead"): odd}, made_by="a test", change="as it was")
    price_lists.forget()
    costs = {block["name"]: block["costs"] for block in client_of(owner).get("/api/blocks").json()}
    assert costs["ProbeRead"] == [{"cost_amount": 1, "cost_filter": {}, "cost_type": "run"}]
