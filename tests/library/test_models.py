"""What becomes of presets with their graph and their user."""

import pytest
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from accounts.models import User
from graphs.models import Graph
from integrations.models import Webhook
from integrations.services import prune_webhook
from library.models import Preset
from tests import make


def test_a_graph_that_a_preset_runs_is_not_deleted(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    preset = make.a_preset(user, graph_id, name="Each Monday")
    run = make.a_run(user, graph_id)

    answer = api.delete(f"/api/graphs/{graph_id}")

    assert answer.status_code == 409
    assert answer.json() == {
        "code": "graph_in_use",
        "message": 'The graph was not deleted: it is used by preset "Each Monday"',
        "detail": 'The graph was not deleted: it is used by preset "Each Monday"',
        "hint": "Delete what is listed in used_by first.",
        "used_by": [{"kind": "preset", "id": str(preset.pk), "name": "Each Monday"}],
    }
    run.refresh_from_db()
    assert Graph.objects.filter(pk=graph_id).exists()


def test_deleted_presets_go_with_their_graph(api: APIClient, user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    make.a_preset(user, graph_id, is_deleted=True)

    assert api.delete(f"/api/graphs/{graph_id}").json() == {"version_counts": 1}
    assert Preset.objects.count() == 0


def test_graphs_and_presets_go_with_their_user(user: User) -> None:
    other = make.a_user()
    for owner in (user, other):
        make.a_preset(owner, make.a_graph(owner).graph_id, webhook=a_webhook(owner))

    user.delete()

    assert [preset.user_id for preset in Preset.objects.all()] == [other.pk]
    assert [graph.owner_id for graph in Graph.objects.all()] == [other.pk]
    assert [webhook.user_id for webhook in Webhook.objects.all()] == [other.pk]


def test_events_run_the_active_presets_of_their_webhook_oldest_first(user: User) -> None:
    graph_id = make.a_graph(user).graph_id
    webhook, another = a_webhook(user), a_webhook(user)
    wanted = [make.a_preset(user, graph_id, webhook=webhook) for _ in range(2)]
    make.a_preset(user, graph_id, webhook=webhook, is_active=False)
    make.a_preset(user, graph_id, webhook=another)
    make.a_preset(user, graph_id)

    assert list(Preset.objects.triggered_by(webhook.pk)) == wanted
    assert not prune_webhook(webhook.pk)


def test_a_deleted_preset_has_no_webhook(user: User) -> None:
    preset = make.a_preset(user, make.a_graph(user).graph_id, webhook=a_webhook(user))

    with pytest.raises(IntegrityError, match="deleted_presets_have_no_webhook"), transaction.atomic():
        Preset.objects.filter(pk=preset.pk).update(is_deleted=True)


def a_webhook(owner: User) -> Webhook:
    return Webhook.objects.create(user=owner, provider="generic_webhook", webhook_type="plain", secret="s" * 64)
