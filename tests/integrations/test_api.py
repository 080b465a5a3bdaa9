"""Webhooks over REST: their owner sees and changes them, nobody else does."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from accounts.models import User
from core.ids import uuid7
from integrations.kinds import Event, Outcome
from integrations.models import Delivery, Webhook
from integrations.services import create_webhook, keep, settle


@pytest.fixture
def webhook(user: User) -> Webhook:
    return create_webhook(user.pk, provider="generic_webhook", webhook_type="plain", resource="orders")


def at(webhook: Webhook, what: str = "") -> str:
    return f"/api/integrations/webhooks/{webhook.pk}{what}"


def test_the_owner_sees_a_webhook_with_its_address_and_secret(api: APIClient, webhook: Webhook) -> None:
    answer = api.get(at(webhook))
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(webhook.pk),
        "user_id": str(webhook.user_id),
        "provider": "generic_webhook",
        "credentials_id": "",
        "webhook_type": "plain",
        "resource": "orders",
        "events": [],
        "config": {},
        "secret": webhook.secret,
        "provider_webhook_id": "",
        "url": f"https://taskloom.example.com/api/integrations/generic_webhook/webhooks/{webhook.pk}/ingress",
    }


def test_webhooks_are_listed_newest_first_to_their_owner_only(
    api: APIClient, stranger: APIClient, anonymous: APIClient, user: User, webhook: Webhook
) -> None:
    newer = create_webhook(user.pk, provider="github", webhook_type="repo")
    first = api.get("/api/integrations/webhooks?page_size=1").json()
    second = api.get("/api/integrations/webhooks?page_size=1&page=2").json()
    assert first["webhooks"] == [api.get(at(newer)).json()]
    assert second["webhooks"] == [api.get(at(webhook)).json()]
    assert first["pagination"] == {"total_items": 2, "total_pages": 2, "current_page": 1, "page_size": 1}
    assert stranger.get("/api/integrations/webhooks").json()["webhooks"] == []
    assert anonymous.get("/api/integrations/webhooks").status_code == 401
    assert api.get("/api/integrations/webhooks?page=0").status_code == 422


def test_signatures_are_asked_for_and_no_longer(api: APIClient, webhook: Webhook) -> None:
    for signed in (True, True, False):
        answer = api.patch(at(webhook), {"signed": signed}, format="json")
        assert (answer.status_code, answer.json()["config"]) == (200, {"signed": signed})
        webhook.refresh_from_db()
        assert webhook.is_signed is signed


def test_github_always_signs(api: APIClient, user: User) -> None:
    hub = create_webhook(user.pk, provider="github", webhook_type="repo")
    refused = api.patch(at(hub), {"signed": False}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "always_signed")
    assert api.patch(at(hub), {"signed": True}, format="json").status_code == 200
    hub.refresh_from_db()
    assert (hub.is_signed, hub.config) == (True, {})


@pytest.mark.parametrize("body", [{}, {"signed": "perhaps"}, {"signed": None}, []])
def test_a_change_must_say_what(api: APIClient, webhook: Webhook, body: Any) -> None:
    assert api.patch(at(webhook), body, format="json").status_code == 422
    assert Webhook.objects.get().config == {}


def test_the_secret_is_changed_and_shown(api: APIClient, webhook: Webhook) -> None:
    answer = api.post(at(webhook, "/rotate"))
    changed = Webhook.objects.get()
    assert (answer.status_code, answer.json()["secret"]) == (200, changed.secret)
    assert changed.secret != webhook.secret == changed.previous_secret
    assert webhook.secret not in answer.content.decode()


def test_no_provider_can_be_asked_for_a_ping(api: APIClient, webhook: Webhook, settings: LazySettings) -> None:
    settings.RATES = {**settings.RATES, "webhooks": "2/h"}
    answers = [api.post(at(webhook, "/ping")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].json() is False


def test_the_owner_sees_what_came_in_and_what_it_led_to(
    api: APIClient, user: User, webhook: Webhook, django_assert_num_queries: Callable[..., Any]
) -> None:
    ids = [keep(webhook, Event("plain", f"msg_{number}", b'{"secret": "of the sender"}')) for number in range(3)]
    keep(create_webhook(user.pk, provider="github", webhook_type="repo"), Event("push", "other", b"{}"))
    preset_id, run_id = uuid7(), uuid7()
    outcomes = [Outcome(preset_id, run_id), Outcome(preset_id, reason="The account is switched off.")]
    settle(Delivery.objects.get(pk=ids[0]), outcomes)

    with django_assert_num_queries(3):
        first = api.get(at(webhook, "/deliveries?page_size=2")).json()
    second = api.get(at(webhook, f"/deliveries?page_size=2&cursor={first['pagination']['next_cursor']}")).json()

    assert [each["delivery_id"] for each in first["deliveries"]] == ["msg_2", "msg_1"]
    [oldest] = second["deliveries"]
    assert (oldest["id"], oldest["delivery_id"], oldest["event"]) == (str(ids[0]), "msg_0", "plain")
    assert oldest["taken_up_at"] is not None
    assert oldest["outcomes"] == [
        {"preset_id": str(preset_id), "run_id": str(run_id), "reason": ""},
        {"preset_id": str(preset_id), "run_id": None, "reason": "The account is switched off."},
    ]
    assert [each["taken_up_at"] for each in first["deliveries"]] == [None, None]
    assert first["pagination"]["total_items"] == 3


@pytest.mark.parametrize(
    ("method", "what", "body"),
    [
        ("get", "", None),
        ("patch", "", {"signed": True}),
        ("post", "/rotate", None),
        ("post", "/ping", None),
        ("get", "/deliveries", None),
    ],
)
def test_nobody_else_finds_it(
    webhook: Webhook, stranger: APIClient, anonymous: APIClient, method: str, what: str, body: Any
) -> None:
    foreign = getattr(stranger, method)(at(webhook, what), body, format="json")
    absent = getattr(stranger, method)(f"/api/integrations/webhooks/{uuid7()}{what}", body, format="json")
    assert [(answer.status_code, answer.json()["code"]) for answer in (foreign, absent)] == [
        (404, "no_such_webhook")
    ] * 2
    assert getattr(anonymous, method)(at(webhook, what), body, format="json").status_code == 401
    kept = Webhook.objects.get()
    assert (kept.secret, kept.config) == (webhook.secret, {})
