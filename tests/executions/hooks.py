"""Webhooks with presets that their events run, and a sender."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from rest_framework.test import APIClient

from accounts.models import User
from executions.models import GraphExecution
from integrations.models import Delivery, Webhook
from integrations.services import create_webhook
from library.models import Preset
from tests import make

NODES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "hook": ("GenericWebhookTrigger", {}),
    "got": ("AgentOutput", {"name": "got", "escape_html": False}),
    "with": ("AgentOutput", {"name": "with", "escape_html": False}),
}
# A client that is new loads all of the middleware.
SENDER = APIClient(raise_request_exception=False)
LINKS = ["hook.payload -> got.value", "hook.constants -> with.value"]


@dataclass
class Hook:
    """A webhook, and the presets that its events run."""

    owner: User
    webhook: Webhook
    presets: list[Preset]

    @property
    def path(self) -> str:
        return f"/api/integrations/{self.webhook.provider}/webhooks/{self.webhook.pk}/ingress"

    @property
    def runs(self) -> list[GraphExecution]:
        return list(GraphExecution.objects.filter(user=self.owner).order_by("created_at", "pk"))

    @property
    def deliveries(self) -> list[Delivery]:
        return list(Delivery.objects.filter(webhook=self.webhook).order_by("received_at", "pk"))

    @property
    def reasons(self) -> list[list[str]]:
        return [[each["reason"] for each in delivery.outcomes] for delivery in self.deliveries]

    def post(self, body: Any, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return SENDER.post(self.path, content, content_type="application/json", headers=names)


def a_hook(owner: User, *, presets: int = 1, provider: str = "generic_webhook", **more: Any) -> Hook:
    webhook = create_webhook(owner.pk, provider=provider, webhook_type="plain", **more)
    graph = make.a_graph(owner, make.a_drawing(NODES, LINKS))
    made = [
        make.a_preset(owner, graph.graph_id, webhook=webhook, inputs={"constants": {"preset": number}})
        for number in range(presets)
    ]
    return Hook(owner, webhook, made)
