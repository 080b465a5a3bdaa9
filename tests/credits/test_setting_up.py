"""Whether the way credits are sold is set up, and its pages in the admin site."""

from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits.models import StripeEvent
from credits.system_checks import payments_are_whole
from tests.credits.buying import bought, hear
from tests.fake_stripe import FakeStripe


def found() -> list[str | None]:
    return [message.id for message in payments_are_whole()]


@pytest.mark.usefixtures("paid")
def test_the_check_names_what_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found() == []
    settings.STRIPE_API_KEY = "sk_test_1"
    assert found() == ["credits.W001"]
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_1"]
    assert found() == []
    settings.CREDITS = "disabled"
    assert found() == ["credits.W002"]
    monkeypatch.setattr("credits.payments.processor.find_spec", lambda name: None)
    assert found() == ["credits.E001", "credits.W002"]


def test_administrators_look_at_everything_and_change_nothing(
    stripe: FakeStripe, api: APIClient, user: User, admin: User
) -> None:
    top_up = bought(stripe, api)
    stripe.account.give_back(str(top_up.payment_id), 100)
    hear(stripe, stripe.account.events[-1])
    api.post(f"/api/credits/{top_up.key}/refund", {"reason": "<b>why</b>"}, format="json")
    site = Client()
    site.force_login(admin)
    seen: dict[str, Any] = {}
    for model, searched in (
        ("topup", user.email),
        ("refundrequest", str(user.pk)),
        ("reversal", str(top_up.payment_id)),
        ("customer", user.email),
        ("stripeevent", str(StripeEvent.objects.all()[0].pk)),
    ):
        path = f"/admin/credits/{model}/"
        listed = site.get(path, {"q": searched})
        assert (listed.status_code, listed.context["cl"].result_count > 0) == (200, True), model
        assert site.get(path, {"q": "nobody@example.com"}).context["cl"].result_count == 0
        row = listed.context["cl"].result_list[0].pk
        page = site.get(f"{path}{row}/change/")
        seen[model] = (page.status_code, site.post(f"{path}{row}/change/", {}).status_code)
        assert "<b>why</b>" not in listed.content.decode() + page.content.decode()
        assert (site.get(f"{path}add/").status_code, site.post(f"{path}{row}/delete/").status_code) == (403, 403)
    assert set(seen.values()) == {(200, 403)}


def test_posting_to_the_address_of_a_page_pays_as_a_person_would(stripe: FakeStripe, api: APIClient) -> None:
    url = api.post("/api/credits", {"credit_amount": 500}, format="json").json()["checkout_url"]
    with urlopen(Request(url, b"", method="POST"), timeout=10) as answer:  # noqa: S310  loopback
        assert answer.status == 200
    assert api.patch("/api/credits").status_code == 200
    assert api.get("/api/credits").json() == {"credits": 500}
