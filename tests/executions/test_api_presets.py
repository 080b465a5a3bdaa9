"""Running presets over HTTP."""

from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from executions.again import replay_run
from executions.models import GraphExecution
from executions.presets import start_preset
from graphs.models import GraphVersion
from integrations.models import Webhook
from library.models import Preset
from tests import make

KEY = {"id": "c1", "provider": "github", "type": "api_key", "title": "mine"}
OTHER_KEY = {**KEY, "id": "c2"}
TRIGGERED = make.a_drawing(
    {
        "trigger": ("GenericWebhookTrigger", {}),
        "in": ("AgentInput", {"name": "payload", "value": "nobody"}),
        "out": ("AgentOutput", {"name": "posted"}),
    },
    ["trigger.payload -> out.value"],
)


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """A graph with one required input, `who`."""
    return make.a_graph(user)


@pytest.fixture
def preset(user: User, graph: GraphVersion) -> Preset:
    values = {"inputs": {"who": "Ann", "colour": "red"}, "credentials": {"key": KEY, "other": KEY}}
    return make.a_preset(user, graph.graph_id, **values)


@pytest.fixture
def triggered(user: User) -> Preset:
    """A preset that events run."""
    webhook = Webhook.objects.create(user=user, provider="generic_webhook", webhook_type="plain", secret="s" * 64)
    graph_id = make.a_graph(user, TRIGGERED).graph_id
    return make.a_preset(user, graph_id, inputs={"constants": {"shop": "Oslo"}}, webhook=webhook)


def at(preset: Preset) -> str:
    return f"/api/library/presets/{preset.pk}/execute"


def trigger_of(preset: Preset) -> str:
    version = GraphVersion.objects.get(graph=preset.graph_id)
    return next(str(node.pk) for node in version.nodes.all() if not node.input_default)


def test_a_run_begins_with_what_the_preset_keeps(api: APIClient, user: User, preset: Preset) -> None:
    answer = api.post(at(preset))

    assert answer.status_code == 200
    run = GraphExecution.objects.get()
    told = answer.json()
    assert (told["id"], told["user_id"], told["status"]) == (str(run.pk), str(user.pk), "QUEUED")
    assert (told["graph_id"], told["graph_version"]) == (str(preset.graph_id), 1)
    assert told["preset_id"] == str(preset.pk)
    assert told["inputs"] == preset.inputs
    assert told["credential_inputs"] == preset.credentials
    assert told["nodes_input_masks"] == {}
    shown = api.get(f"/api/graphs/{preset.graph_id}/executions").json()["executions"]
    assert [each["preset_id"] for each in shown] == [str(preset.pk)]


def test_what_is_sent_wins_over_what_is_kept(api: APIClient, preset: Preset) -> None:
    sent = {"inputs": {"who": "Bob", "size": 3}, "credential_inputs": {"key": OTHER_KEY}}

    told = api.post(at(preset), sent, format="json").json()

    assert told["inputs"] == {"who": "Bob", "colour": "red", "size": 3}
    assert told["credential_inputs"] == {"key": OTHER_KEY, "other": KEY}
    preset.refresh_from_db()
    assert preset.inputs == {"who": "Ann", "colour": "red"}


def test_limits_hold_as_for_any_start(api: APIClient, preset: Preset) -> None:
    limits = {"node_budget": 7, "output_budget": 8, "max_credits": 9, "timeout_seconds": 10, "dry_run": True}

    assert api.post(at(preset), limits, format="json").json()["is_dry_run"] is True
    assert api.post(at(preset), {"node_budget": 0}, format="json").status_code == 422

    run = GraphExecution.objects.get()
    assert (run.node_budget, run.output_budget, run.max_credits) == (7, 8, 9)
    assert run.deadline_at is not None
    assert (run.deadline_at - run.created_at).total_seconds() == pytest.approx(10, abs=0.1)


def test_a_key_starts_one_run_and_is_not_for_another_request(
    api: APIClient, preset: Preset, graph: GraphVersion
) -> None:
    key = {"Idempotency-Key": "order-7"}
    first = api.post(at(preset), headers=key)
    Preset.objects.filter(pk=preset.pk).update(inputs={"who": "Bob"})

    again = api.post(at(preset), headers=key)
    other = api.post(at(preset), {"inputs": {"who": "Bob"}}, format="json", headers=key)
    plain = api.post(f"/api/graphs/{graph.graph_id}/execute/1", {"inputs": {"who": "Ann"}}, format="json", headers=key)

    assert again.json()["id"] == first.json()["id"]
    assert [(answer.status_code, answer.json()["code"]) for answer in (other, plain)] == [(409, "key_reused")] * 2
    assert GraphExecution.objects.count() == 1


def test_what_the_graph_cannot_run_with_is_named_and_nothing_is_started(api: APIClient, preset: Preset) -> None:
    Preset.objects.filter(pk=preset.pk).update(inputs={})

    answer = api.post(at(preset), {}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "not_runnable")
    assert 'This input is required: give "who" in inputs' in answer.json()["message"]
    assert not GraphExecution.objects.exists()


def test_who_has_no_credits_starts_no_preset(api: APIClient, preset: Preset, settings: Any) -> None:
    settings.CREDITS = "paid"

    assert api.post(at(preset)).status_code == 402
    assert not GraphExecution.objects.exists()


def test_a_preset_that_is_deleted_or_somebody_elses_runs_nothing(
    api: APIClient, stranger: APIClient, anonymous: APIClient, preset: Preset
) -> None:
    answers = [stranger.post(at(preset)), api.post(f"/api/library/presets/{uuid4()}/execute")]
    Preset.objects.filter(pk=preset.pk).update(is_deleted=True)
    answers.append(api.post(at(preset)))

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "no_such_preset")] * 3
    assert anonymous.post(at(preset)).status_code == 401
    assert not GraphExecution.objects.exists()


def test_a_triggered_preset_has_its_inputs_on_the_trigger(api: APIClient, triggered: Preset) -> None:
    told = api.post(at(triggered), {"inputs": {"payload": {"order": 7}}}, format="json").json()

    assert told["inputs"] == {}
    assert told["nodes_input_masks"] == {
        trigger_of(triggered): {"constants": {"shop": "Oslo"}, "payload": {"order": 7}}
    }
    assert told["preset_id"] == str(triggered.pk)


def test_an_event_starts_a_preset_once(triggered: Preset) -> None:
    runs = [start_preset(triggered, inputs={"payload": {"order": 7}}, trigger_key="event-1") for _ in range(2)]

    assert runs[0].pk == runs[1].pk
    assert runs[0].nodes_input_masks[trigger_of(triggered)]["payload"] == {"order": 7}


def test_a_start_of_the_graph_can_name_the_preset_it_was_made_from(
    api: APIClient, user: User, graph: GraphVersion, preset: Preset
) -> None:
    address = f"/api/graphs/{graph.graph_id}/execute/1"
    sent = {"inputs": {"who": "Cid"}}
    of_another_graph = make.a_preset(user, make.a_graph(user).graph_id)
    other = make.a_user()
    theirs = make.a_preset(other, make.a_graph(other).graph_id)

    told = api.post(f"{address}?preset_id={preset.pk}", sent, format="json").json()

    assert (told["preset_id"], told["inputs"]) == (str(preset.pk), {"who": "Cid"})
    wrong = [api.post(f"{address}?preset_id={each.pk}", sent, format="json") for each in (of_another_graph, theirs)]
    assert [(answer.status_code, answer.json()["code"]) for answer in wrong] == [(404, "no_such_preset")] * 2
    assert api.post(f"{address}?preset_id=x", sent, format="json").status_code == 422
    assert GraphExecution.objects.count() == 1
    assert api.post(f"{address}?preset_id=", sent, format="json").json()["preset_id"] is None


def test_a_run_that_is_replayed_keeps_its_preset(user: User, preset: Preset) -> None:
    run = start_preset(preset)
    GraphExecution.objects.filter(pk=run.pk).update(status="FAILED", ended_at=run.created_at, node_error_count=1)
    node_id = GraphVersion.objects.get(graph=preset.graph_id).nodes.order_by("position")[0].pk

    replayed = replay_run(run.pk, node_id)

    assert replayed.preset_id == preset.pk
