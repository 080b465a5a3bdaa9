"""Presets that events run: their webhooks come and go with them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import LazySettings
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import User
from executions.models import GraphExecution
from graphs.models import GraphVersion
from graphs.schemas import GraphDraft
from graphs.services import save_version
from integrations.models import Webhook
from integrations.services import create_webhook
from library.models import Preset
from library.services import delete_preset
from tests import make

PRESETS = "/api/library/presets"
SETUP = f"{PRESETS}/setup-trigger"
NODES = {"trigger": ("GenericWebhookTrigger", {}), "out": ("AgentOutput", {"name": "posted"})}
LINKS = ["trigger.payload -> out.value"]
KEY = {"id": "c1", "provider": "github", "type": "api_key", "title": "mine"}


@pytest.fixture(autouse=True)
def _reachable(settings: LazySettings) -> None:
    settings.PLATFORM_BASE_URL = "https://taskloom.example.com"


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """A graph that events start."""
    return make.a_graph(user, make.a_drawing(NODES, LINKS))


def body(graph: GraphVersion, **changes: Any) -> dict[str, Any]:
    config = {"constants": {"shop": "Oslo"}}
    return {"name": "orders", "graph_id": str(graph.graph_id), "graph_version": 1, "trigger_config": config, **changes}


@pytest.fixture
def made(api: APIClient, graph: GraphVersion) -> dict[str, Any]:
    """A preset with a webhook of its own."""
    answer = api.post(SETUP, body(graph, agent_credentials={"key": KEY}), format="json")
    assert answer.status_code == 200, answer.json()
    return dict(answer.json())


def at(preset: dict[str, Any]) -> str:
    return f"{PRESETS}/{preset['id']}"


def counts() -> tuple[int, int]:
    return Preset.objects.filter(is_deleted=False).count(), Webhook.objects.count()


def test_a_preset_and_its_webhook_are_made_together(api: APIClient, user: User, made: dict[str, Any]) -> None:
    webhook = Webhook.objects.get()
    preset = Preset.objects.get()

    assert (made["inputs"], made["credentials"]) == ({"constants": {"shop": "Oslo"}}, {"key": KEY})
    assert (made["name"], made["description"], made["is_active"]) == ("orders", "", True)
    assert made["webhook_id"] == str(webhook.pk)
    address = f"https://taskloom.example.com/api/integrations/generic_webhook/webhooks/{webhook.pk}/ingress"
    told = {name: made["webhook"][name] for name in ("id", "user_id", "provider", "webhook_type", "secret", "url")}
    assert told == {
        "id": str(webhook.pk),
        "user_id": str(user.pk),
        "provider": "generic_webhook",
        "webhook_type": "plain",
        "secret": webhook.secret,
        "url": address,
    }
    assert list(Preset.objects.triggered_by(webhook.pk)) == [preset]
    assert api.get(at(made)).json() == made
    assert api.get(f"{PRESETS}?graph_id=").json()["presets"] == [made]
    assert not GraphExecution.objects.exists()


def test_a_graph_that_one_cannot_have_is_gone(api: APIClient, graph: GraphVersion) -> None:
    theirs = make.a_graph(make.a_user(), make.a_drawing(NODES, LINKS))
    asked = [body(theirs), body(graph, graph_id=str(uuid4())), body(graph, graph_version=2)]

    answers = [api.post(SETUP, each, format="json") for each in asked]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(410, "graph_gone")] * 3
    assert counts() == (0, 0)


def test_a_graph_without_a_trigger_is_not_set_up(api: APIClient, user: User) -> None:
    answer = api.post(SETUP, body(make.a_graph(user), trigger_config={}), format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "no_trigger")
    assert counts() == (0, 0)


@pytest.mark.parametrize("pin", ["payload", "colour"])
def test_what_a_trigger_does_not_take_is_named(api: APIClient, graph: GraphVersion, pin: str) -> None:
    answer = api.post(SETUP, body(graph, trigger_config={pin: 1}), format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "trigger_config_unknown")
    assert answer.json()["message"] == f"GenericWebhookTriggerBlock takes no {pin!r}; it takes constants"
    assert counts() == (0, 0)


def test_a_graph_that_events_could_not_run_is_not_set_up(api: APIClient, user: User) -> None:
    nodes = {**NODES, "in": ("AgentInput", {"name": "who"})}

    answer = api.post(SETUP, body(make.a_graph(user, make.a_drawing(nodes, LINKS))), format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "not_runnable")
    assert counts() == (0, 0)


def test_nothing_is_set_up_where_nobody_knows_the_address(
    api: APIClient, graph: GraphVersion, settings: LazySettings
) -> None:
    settings.PLATFORM_BASE_URL = ""

    assert api.post(SETUP, body(graph), format="json").status_code == 503
    assert counts() == (0, 0)


def test_a_preset_can_be_run_by_a_webhook_that_is_there(
    api: APIClient, user: User, graph: GraphVersion, made: dict[str, Any]
) -> None:
    kept = {"name": "also", "description": "", "inputs": {}, "credentials": {}}
    asked = {"graph_id": str(graph.graph_id), "graph_version": 1, **kept}
    unfit = create_webhook(user.pk, provider="github", webhook_type="repo")
    theirs = create_webhook(make.a_user().pk, provider="generic_webhook", webhook_type="plain")

    also = api.post(PRESETS, {**asked, "webhook_id": made["webhook_id"]}, format="json").json()
    refused = [api.post(PRESETS, {**asked, "webhook_id": str(each.pk)}, format="json") for each in (unfit, theirs)]

    assert also["webhook"] == made["webhook"]
    told = [(answer.status_code, answer.json()["code"]) for answer in refused]
    assert told == [(400, "webhook_unfit"), (404, "no_such_webhook")]
    assert Preset.objects.count() == 2


def test_a_webhook_goes_with_the_last_of_its_presets(
    api: APIClient, user: User, graph: GraphVersion, made: dict[str, Any]
) -> None:
    webhook = Webhook.objects.get()
    also = make.a_preset(user, graph.graph_id, webhook=webhook)

    assert api.delete(at(made)).status_code == 204
    assert Webhook.objects.filter(pk=webhook.pk).exists()
    assert api.delete(f"{PRESETS}/{also.pk}").status_code == 204
    assert counts() == (0, 0)


def test_a_webhook_goes_with_presets_that_are_deleted_at_the_same_moment(owner: User) -> None:
    graph_id = make.a_graph(owner, make.a_drawing(NODES, LINKS)).graph_id
    for _ in range(3):
        webhook = create_webhook(owner.pk, provider="generic_webhook", webhook_type="plain")
        presets = [make.a_preset(owner, graph_id, webhook=webhook).pk for _ in range(2)]
        together = Barrier(2)

        def delete(preset_id: UUID, together: Barrier = together) -> None:
            together.wait(5)
            try:
                delete_preset(owner, preset_id)
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(delete, presets)) == [None, None]

    assert counts() == (0, 0)


def test_other_inputs_keep_the_webhook_and_are_what_the_trigger_takes(api: APIClient, made: dict[str, Any]) -> None:
    changes = {"inputs": {"constants": {"shop": "Bergen"}}, "credentials": {}}

    told = api.patch(at(made), changes, format="json").json()
    refused = api.patch(at(made), {"inputs": {"colour": "red"}, "credentials": {}}, format="json")

    assert told == {**made, **changes, "updated_at": told["updated_at"]}
    assert (refused.status_code, refused.json()["code"]) == (400, "trigger_config_unknown")
    assert api.get(at(made)).json() == told


def test_another_version_needs_a_trigger_and_keeps_the_webhook_if_it_fits(
    api: APIClient, user: User, graph: GraphVersion, made: dict[str, Any]
) -> None:
    for drawing in (make.a_drawing(), make.a_drawing(NODES, LINKS)):
        save_version(user, graph.graph_id, GraphDraft.model_validate(drawing))

    without = api.patch(at(made), {"graph_version": 2}, format="json")
    told = api.patch(at(made), {"graph_version": 3}, format="json").json()

    assert (without.status_code, without.json()["code"]) == (400, "no_trigger")
    assert told == {**made, "graph_version": 3, "updated_at": told["updated_at"]}


def test_a_version_with_another_trigger_gets_another_webhook(
    api: APIClient, graph: GraphVersion, made: dict[str, Any]
) -> None:
    # As if the version before had been started by events of another kind.
    Webhook.objects.update(provider="github", webhook_type="repo")

    told = api.patch(at(made), {"graph_version": 1}, format="json").json()

    assert told["webhook_id"] != made["webhook_id"]
    assert counts() == (1, 1)
    assert Webhook.objects.get().provider == "generic_webhook"


def test_a_preset_that_can_run_no_more_is_switched_off_but_not_on(
    api: APIClient, user: User, graph: GraphVersion
) -> None:
    webhook = create_webhook(user.pk, provider="generic_webhook", webhook_type="plain")
    inputs = {"constants": {"file": f"workspace://{uuid4()}"}}
    preset = make.a_preset(user, graph.graph_id, inputs=inputs, webhook=webhook)

    off = api.patch(f"{PRESETS}/{preset.pk}", {"is_active": False, "name": "off"}, format="json")
    on = api.patch(f"{PRESETS}/{preset.pk}", {"is_active": True, "name": "on"}, format="json")

    assert (off.status_code, off.json()["is_active"]) == (200, False)
    assert (on.status_code, on.json()["detail"]["type"]) == (400, "validation_error")
    preset.refresh_from_db()
    assert (preset.is_active, preset.name) == (False, "off")


def test_events_do_not_run_a_preset_that_is_switched_off(api: APIClient, made: dict[str, Any]) -> None:
    webhook_id = Webhook.objects.get().pk

    assert api.patch(at(made), {"is_active": False}, format="json").json()["webhook_id"] == str(webhook_id)

    assert list(Preset.objects.triggered_by(webhook_id)) == []
