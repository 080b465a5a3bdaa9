"""Webhooks: made, changed and deleted by services, seen by operators without their secrets."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import timezone

from accounts.models import Role, User
from config import env
from core.ids import uuid7
from integrations import services
from integrations.errors import NoPublicAddress, NoSuchWebhook, TooManyWebhooks, WebhookProviderUnknown
from integrations.kinds import Event
from integrations.models import Delivery, Webhook
from integrations.reading import WebhookSerializer
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(settings: LazySettings) -> User:
    settings.PLATFORM_BASE_URL = "https://taskloom.example.com"
    return make.a_user()


def a_webhook(owner: User, provider: str = "generic_webhook", **more: object) -> Webhook:
    return services.create_webhook(owner.pk, provider=provider, webhook_type="plain", **more)  # type: ignore[arg-type]


def test_a_webhook_has_an_address_and_a_secret_that_its_owner_sees(owner: User) -> None:
    webhook = a_webhook(owner, "github", resource="ada/engine", events=["push"], config={"a": 1})
    assert WebhookSerializer(webhook).data == {
        "id": str(webhook.pk),
        "user_id": str(owner.pk),
        "provider": "github",
        "credentials_id": "",
        "webhook_type": "plain",
        "resource": "ada/engine",
        "events": ["push"],
        "config": {"a": 1},
        "secret": webhook.secret,
        "provider_webhook_id": "",
        "url": f"https://taskloom.example.com/api/integrations/github/webhooks/{webhook.pk}/ingress",
    }
    assert len(bytes.fromhex(webhook.secret)) == 32
    assert a_webhook(owner).secret != webhook.secret
    assert webhook.pk.version == 4
    assert webhook.secret not in repr(webhook)


def test_without_a_public_address_there_are_no_webhooks(owner: User, settings: LazySettings) -> None:
    settings.PLATFORM_BASE_URL = ""
    with pytest.raises(NoPublicAddress) as refused:
        a_webhook(owner)
    assert (refused.value.status, "PLATFORM_BASE_URL" in refused.value.hint) == (503, True)
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(("given", "kept"), [("", ""), ("https://a.example/b/", "https://a.example/b")])
def test_the_public_address_is_kept_without_a_slash(monkeypatch: pytest.MonkeyPatch, given: str, kept: str) -> None:
    monkeypatch.setenv("PLATFORM_BASE_URL", given)
    assert env.base_url("PLATFORM_BASE_URL") == kept


@pytest.mark.parametrize("address", ["taskloom.example.com", "ftp://a.example", "https://", "https://a.example?b=c"])
def test_what_is_no_address_stops_the_start(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("PLATFORM_BASE_URL", address)
    with pytest.raises(ImproperlyConfigured, match="PLATFORM_BASE_URL must be like https://"):
        env.base_url("PLATFORM_BASE_URL")


def test_a_provider_that_nobody_understands_is_refused(owner: User) -> None:
    with pytest.raises(WebhookProviderUnknown, match=r"'gitea' is none of .*: generic_webhook, github"):
        a_webhook(owner, "gitea")
    assert not Webhook.objects.exists()


def test_a_user_has_at_most_so_many_webhooks(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_WEBHOOKS", 2)
    a_webhook(owner), a_webhook(owner)
    a_webhook(make.a_user())
    with pytest.raises(TooManyWebhooks, match="You have 2 webhooks"):
        a_webhook(owner)
    assert Webhook.objects.visible_to(owner).count() == 2


def test_a_pruned_webhook_is_gone_with_its_inbox(owner: User) -> None:
    webhook, other = a_webhook(owner), a_webhook(owner)
    for each in (webhook, other):
        services.keep(each, Event("plain", None, b"{}"))
    assert services.prune_webhook(webhook.pk)
    assert services.prune_webhook(webhook.pk)
    assert list(Webhook.objects.all()) == [other]
    assert [delivery.webhook_id for delivery in Delivery.objects.all()] == [other.pk]


def test_a_new_secret_leaves_the_one_before_good_for_a_day(owner: User) -> None:
    webhook = a_webhook(owner)
    first = webhook.secret
    webhook = services.rotate_secret(owner.pk, webhook.pk)
    now = timezone.now()
    assert webhook.secrets_at(now) == [webhook.secret, first]
    assert webhook.secret != first
    assert webhook.secrets_at(now + timedelta(hours=24, seconds=1)) == [webhook.secret]
    second = webhook.secret
    webhook = services.rotate_secret(owner.pk, webhook.pk)
    assert webhook.secrets_at(now) == [webhook.secret, second]


def test_nobody_changes_somebody_elses_webhook(owner: User) -> None:
    webhook, other = a_webhook(owner), make.a_user()
    for webhook_id in (webhook.pk, uuid7()):
        with pytest.raises(NoSuchWebhook):
            services.rotate_secret(other.pk, webhook_id)
        with pytest.raises(NoSuchWebhook):
            services.require_signatures(other.pk, webhook_id, signed=True)
    kept = Webhook.objects.get()
    assert (kept.secret, kept.config) == (webhook.secret, {})


def test_an_operator_sees_webhooks_and_their_inbox_but_no_secret(owner: User, client: Client) -> None:
    webhook = a_webhook(owner)
    services.rotate_secret(owner.pk, webhook.pk)
    webhook.refresh_from_db()
    delivery_id = services.keep(webhook, Event("plain", "msg_1", b'{"who": "<Ada>"}'))
    outcomes = [{"preset_id": "p", "run_id": None, "reason": "broke"}, {"preset_id": "q", "run_id": "r", "reason": ""}]
    Delivery.objects.update(taken_up_at=timezone.now(), outcomes=outcomes)
    client.force_login(make.a_user(role=Role.ADMIN))
    paths = [
        "/admin/integrations/webhook/",
        f"/admin/integrations/webhook/{webhook.pk}/change/",
        "/admin/integrations/delivery/?q=msg_1",
        f"/admin/integrations/delivery/{delivery_id}/change/",
    ]
    pages = [client.get(path).content.decode() for path in paths]
    assert all(secret not in page for page in pages for secret in (webhook.secret, webhook.previous_secret))
    assert all(str(webhook.pk) in page for page in pages)
    assert '<a href="/admin/library/preset/p/change/" title="p">p</a>: broke' in pages[2]
    assert '<a href="/admin/executions/graphexecution/r/change/" title="r">run r</a>' in pages[3]
    assert "{&quot;who&quot;: &quot;&lt;Ada&gt;&quot;}" in pages[3]

    picked = {"action": "take_up_again", "_selected_action": [str(delivery_id)]}
    client.post("/admin/integrations/delivery/", picked)
    assert Delivery.objects.get().taken_up_at is None
    assert client.post(f"{paths[1]}", {"provider": "github"}).status_code == 403
    client.force_login(owner)
    assert client.get(paths[0]).status_code == 302
