"""Runs that are shown to whoever has the link to them."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from executions.kinds import Status
from executions.models import GraphExecution
from executions.previews import length_of
from executions.sharing import SHOWN_LENGTH
from graphs.models import GraphVersion
from tests import make

NOT_SHARED: tuple[None, None, None] = (None, None, None)


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """Outputs under three names, one of which is marked secret."""
    nodes: dict[str, Any] = {
        "in": ("AgentInput", {"name": "who"}),
        "report": ("AgentOutput", {"name": "report", "value": ""}),
        "pin": ("AgentOutput", {"name": "pin", "value": "", "secret": True}),
        "key": ("AgentOutput", {"name": "api_key", "value": ""}),
    }
    return make.a_graph(user, make.a_drawing(nodes, name="Reports", description="Writes one"))


@pytest.fixture
def run(user: User, graph: GraphVersion) -> GraphExecution:
    """A run that was given something private, and gave a value under each name."""
    return a_finished_run(user, graph, "Hello World")


def a_finished_run(owner: User, graph: GraphVersion, *reports: Any) -> GraphExecution:
    """A finished run with these reports, and other outputs."""
    run = make.a_run(owner, graph.graph_id, status=Status.COMPLETED, inputs={"who": "private"})
    nodes = {node.input_default["name"]: node.pk for node in graph.nodes.all()}
    make.an_activation(run, nodes["who"], "AgentInput", [("result", "private")], input_data={"value": "private"})
    given = [*(("report", report) for report in reports), ("pin", "1234"), ("api_key", "private")]
    for ordinal, (name, value) in enumerate(given):
        data = {"name": name, "value": value}
        make.an_activation(run, nodes[name], "AgentOutput", [("output", value)], input_data=data, ordinal=ordinal)
    return run


def path(run: GraphExecution, graph_id: UUID | None = None) -> str:
    return f"/api/graphs/{graph_id or run.graph_id}/executions/{run.pk}/share"


def shared(client: APIClient, run: GraphExecution) -> str:
    """Share the run and return the token."""
    answer = client.post(path(run))
    assert answer.status_code == 200
    return str(answer.json()["share_token"])


def kept(run: GraphExecution) -> tuple[Any, Any, Any]:
    """What the row keeps about sharing."""
    run.refresh_from_db()
    return run.share_nonce, run.share_digest, run.shared_at


def test_whoever_has_the_link_sees_the_outputs_and_nothing_else(
    api: APIClient, anonymous: APIClient, run: GraphExecution, user: User
) -> None:
    answer = api.post(path(run))
    assert (answer.status_code, set(answer.json())) == (200, {"share_url", "share_token"})
    token = answer.json()["share_token"]
    assert answer.json()["share_url"] == f"{settings.FRONTEND_URL}/share/{token}"
    assert str(UUID(token)) == token
    assert UUID(token).version == 4

    seen = anonymous.get(f"/api/public/shared/{token}")
    assert seen.status_code == 200
    assert seen.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert seen.headers["Cache-Control"].startswith("no-store")
    assert seen.json() == {
        "id": str(run.pk),
        "graph_name": "Reports",
        "graph_description": "Writes one",
        "status": "COMPLETED",
        "created_at": run.created_at.isoformat().replace("+00:00", "Z"),
        "outputs": {"report": ["Hello World"]},
        "truncated": False,
    }
    for private in ("private", user.email, str(user.pk), str(run.graph_id)):
        assert private not in seen.content.decode()


def test_the_owner_sees_that_a_run_is_shared_and_by_which_link(api: APIClient, run: GraphExecution) -> None:
    detail = f"/api/graphs/{run.graph_id}/executions/{run.pk}"
    before = api.get(detail).json()
    assert (before["is_shared"], before["share_token"]) == (False, None)
    token = shared(api, run)
    for seen in (api.get(detail).json(), api.get("/api/executions").json()[0]):
        assert (seen["is_shared"], seen["share_token"]) == (True, token)


def test_sharing_again_makes_a_new_link_and_ends_the_old_one(
    api: APIClient, anonymous: APIClient, run: GraphExecution
) -> None:
    old = shared(api, run)
    new = shared(api, run)
    assert old != new
    assert anonymous.get(f"/api/public/shared/{old}").json()["code"] == "no_such_link"
    assert anonymous.get(f"/api/public/shared/{new}").status_code == 200


def test_a_run_that_is_shared_no_longer_has_no_link(api: APIClient, anonymous: APIClient, run: GraphExecution) -> None:
    token = shared(api, run)
    for _ in range(2):
        answer = api.delete(path(run))
        assert (answer.status_code, answer.content) == (204, b"")
    assert anonymous.get(f"/api/public/shared/{token}").status_code == 404
    assert kept(run) == NOT_SHARED


def test_the_rows_do_not_tell_the_token(api: APIClient, anonymous: APIClient, run: GraphExecution) -> None:
    token = shared(api, run)
    row = GraphExecution.objects.filter(pk=run.pk).values().get()
    assert token not in str(row)
    assert UUID(token).hex not in str(row)
    assert anonymous.get(f"/api/public/shared/{row['share_nonce']}").status_code == 404


def test_a_link_outlives_the_servers_secret_though_nobody_can_be_told_it_again(
    api: APIClient, anonymous: APIClient, run: GraphExecution, settings: Settings
) -> None:
    token = shared(api, run)
    settings.SECRET_KEY = "another secret of the server"
    assert anonymous.get(f"/api/public/shared/{token}").status_code == 200
    seen = api.get(f"/api/graphs/{run.graph_id}/executions/{run.pk}").json()
    assert (seen["is_shared"], seen["share_token"]) == (True, None)


def test_only_the_owner_shares_and_only_below_the_runs_own_graph(
    api: APIClient, stranger: APIClient, anonymous: APIClient, run: GraphExecution, user: User
) -> None:
    other = make.a_graph(user).graph_id
    for client, where, status in (
        (stranger, path(run), 404),
        (anonymous, path(run), 401),
        (api, path(run, other), 404),
        (api, path(run, uuid4()), 404),
    ):
        assert client.post(where).status_code == status
        assert kept(run) == NOT_SHARED
    token = shared(api, run)
    for client, where, status in (
        (stranger, path(run), 404),
        (anonymous, path(run), 401),
        (api, path(run, other), 404),
    ):
        assert client.delete(where).status_code == status
    assert anonymous.get(f"/api/public/shared/{token}").status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "1234",
        "BDC0E0CA-6F4B-4AEB-8C1B-2C3A8C5B1A3F",
        "bdc0e0ca6f4b4aeb8c1b2c3a8c5b1a3f",
        "bdc0e0ca-6f4b-4aeb-8c1b-2c3a8c5b1a3f0",
    ],
)
def test_what_is_no_token_is_refused_with_its_place(anonymous: APIClient, token: str) -> None:
    answer = anonymous.get(f"/api/public/shared/{token}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["path", "share_token"]


def test_a_token_that_was_never_given_leads_nowhere(anonymous: APIClient) -> None:
    answer = anonymous.get(f"/api/public/shared/{uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_link")


def test_the_link_of_a_deleted_run_leads_nowhere(api: APIClient, anonymous: APIClient, run: GraphExecution) -> None:
    token = shared(api, run)
    assert api.delete(f"/api/executions/{run.pk}").status_code == 204
    assert anonymous.get(f"/api/public/shared/{token}").status_code == 404
    assert api.post(path(run)).status_code == 404


def test_the_links_of_somebody_who_is_switched_off_lead_nowhere(
    api: APIClient, anonymous: APIClient, run: GraphExecution
) -> None:
    token = shared(api, run)
    User.objects.update(is_active=False)
    assert anonymous.get(f"/api/public/shared/{token}").status_code == 404


def test_what_looks_like_a_secret_is_replaced_in_what_is_shared(
    api: APIClient, anonymous: APIClient, graph: GraphVersion, user: User
) -> None:
    run = a_finished_run(user, graph, "use sk-abcdef1234567890 for it", {"password": "x", "rows": [1]})
    outputs = anonymous.get(f"/api/public/shared/{shared(api, run)}").json()["outputs"]
    assert outputs == {"report": ["use [removed] for it", {"rows": [1]}]}


def test_of_long_outputs_the_ends_are_shown(
    api: APIClient, anonymous: APIClient, graph: GraphVersion, user: User
) -> None:
    run = a_finished_run(user, graph, *["word " * (SHOWN_LENGTH // 10)] * 4)
    seen = anonymous.get(f"/api/public/shared/{shared(api, run)}").json()
    assert seen["truncated"] is True
    lengths = [len(value) for value in seen["outputs"]["report"]]
    assert lengths[:2] == [SHOWN_LENGTH // 10 * 5] * 2
    assert "characters left out" in seen["outputs"]["report"][3]
    assert length_of(seen["outputs"]) < SHOWN_LENGTH + 4096


def test_an_operator_sees_what_is_shared_and_takes_links_back(
    api: APIClient, anonymous: APIClient, run: GraphExecution, graph: GraphVersion, user: User
) -> None:
    token = shared(api, run)
    make.a_run(user, graph.graph_id)
    operator = Client()
    operator.force_login(make.a_user(role=Role.ADMIN))
    runs = "/admin/executions/graphexecution/"
    listed = operator.get(runs, {"shared_at__isempty": 0}).content.decode()
    assert (str(run.pk) in listed, listed.count('name="_selected_action"')) == (True, 1)
    page = operator.get(f"{runs}{run.pk}/change/").content.decode()
    assert "Shared at" in page
    assert token not in page
    for _ in range(2):
        operator.post(runs, {"action": "unshare", "_selected_action": [str(run.pk)]})
    assert anonymous.get(f"/api/public/shared/{token}").status_code == 404
    assert kept(run) == NOT_SHARED
    # The history of the run says so once, for nothing was left to take back the second time.
    assert LogEntry.objects.get().object_id == str(run.pk)


def test_the_log_says_who_shared_what(api: APIClient, run: GraphExecution, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "executions.sharing"):
        token = shared(api, run)
        api.delete(path(run))
        api.delete(path(run))
    assert caplog.messages == [
        f"User {run.user_id} shared run {run.pk} by a new link",
        f"User {run.user_id} took back the link to run {run.pk}",
    ]
    assert token not in caplog.text
