"""Retrying, replaying and comparing runs over HTTP and on the command line."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from accounts.models import User
from executions import compare, reading, services
from executions.engine.engine import Engine
from executions.kinds import Status
from executions.models import GraphExecution, NodeOutput
from graphs.models import Node
from tests import make
from tests.drawing import Drawn, draw
from tests.executions.conftest import Run, ended
from tests.executions.test_engine import output, outputs


@pytest.fixture
def client(owner: User, client_of: Callable[[User], APIClient]) -> APIClient:
    """The REST client of whose graphs run."""
    return client_of(owner)


@pytest.fixture
def sum_of_two(owner: User) -> Drawn:
    """A graph that adds 2 to a number."""
    return draw(
        owner,
        {
            "in": ("AgentInput", {"name": "x"}),
            "add": ("Calculator", {"operation": "Add", "b": 2}),
            "out": output(),
        },
        ["in.result -> add.a", "add.result -> out.value"],
    )


def below(graph: Drawn, run: GraphExecution, what: str) -> str:
    """The address of something about a run."""
    return f"/api/graphs/{graph.id}/executions/{run.pk}/{what}"


def test_a_replay_over_http_takes_other_inputs_and_one_key_starts_one(
    client: APIClient, run: Run, engine: Engine, sum_of_two: Drawn
) -> None:
    first = run(sum_of_two, x=1)
    body = {"node_id": str(sum_of_two.nodes["add"]), "inputs": {"b": 10}}
    answers = [
        client.post(below(sum_of_two, first, "replay"), body, headers={"Idempotency-Key": "k"}, format="json")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    found = answers[0].json()
    assert (found["source_run_id"], found["source_node_id"]) == (str(first.pk), str(sum_of_two.nodes["add"]))
    assert (found["status"], found["nodes_input_masks"]) == ("QUEUED", {str(sum_of_two.nodes["add"]): {"b": 10}})
    engine.ring([UUID(found["id"])])
    assert outputs(ended(UUID(found["id"]))) == {"out": [11.0]}
    for address, sent in (
        (below(sum_of_two, first, "replay"), {"node_id": str(sum_of_two.nodes["out"])}),
        (f"/api/graphs/{sum_of_two.id}/execute/1", {"inputs": {"x": 1}}),
    ):
        reused = client.post(address, sent, headers={"Idempotency-Key": "k"}, format="json")
        assert (reused.status_code, reused.json()["code"]) == (409, "key_reused")
    assert GraphExecution.objects.count() == 2


def test_a_key_of_another_retry_or_replay_is_refused_and_nothing_is_started(
    client: APIClient, owner: User, run: Run, sum_of_two: Drawn
) -> None:
    graph = draw(owner, {"bad": ("ProbePure", {"fail": "always"})})
    failed, other, done = run(graph), run(graph), run(sum_of_two, x=1)
    replayed = {"node_id": str(sum_of_two.nodes["add"]), "inputs": {"b": 10}}
    asked = [
        (below(graph, failed, "retry"), None),
        (below(graph, other, "retry"), None),
        (below(graph, failed, "replay"), {"node_id": str(graph.nodes["bad"])}),
        (below(sum_of_two, done, "replay"), replayed),
        (below(sum_of_two, done, "replay"), {**replayed, "inputs": {"b": 11}}),
        (f"/api/graphs/{sum_of_two.id}/execute/1", {"inputs": {"x": 1}}),
        (f"/api/graphs/{sum_of_two.id}/execute/1", {"inputs": {"x": 2}}),
    ]
    for number, (address, body) in enumerate(asked):
        key = {"Idempotency-Key": f"k{number}"}
        first = client.post(address, body, headers=key, format="json")
        assert first.status_code == 200
        for other_address, other_body in asked:
            again = client.post(other_address, other_body, headers=key, format="json")
            if (other_address, other_body) == (address, body):
                assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
            else:
                assert (again.status_code, again.json()["code"]) == (409, "key_reused")
                assert again.json()["run_id"] == first.json()["id"]
    assert GraphExecution.objects.count() == 3 + len(asked)


def test_what_goes_on_from_a_dry_run_is_dry_too(client: APIClient, owner: User, engine: Engine) -> None:
    graph = draw(owner, {"mail": ("ProbeMail", {"text": "hello"}), "out": output()}, ["mail.sent -> out.value"])
    Node.objects.filter(pk=graph.nodes["mail"]).update(metadata={"credentials_optional": True})
    first = services.start_run(graph.id, 1, user_id=owner.pk, inputs={}, dry_run=True, ring=False)
    engine.ring([first.pk])
    ended(first.pk)
    given = {"credentials": {"id": "c1", "provider": "post", "type": "api_key"}}
    for inputs, left_out in (({}, [str(graph.nodes["mail"])]), (given, [])):
        body = {"node_id": str(graph.nodes["mail"]), "inputs": inputs}
        replay = client.post(below(graph, first, "replay"), body, format="json").json()
        assert replay["is_dry_run"] is True
        detail = client.get(f"/api/graphs/{graph.id}/executions/{replay['id']}").json()
        assert detail["nodes_to_skip"] == left_out


def test_a_retry_over_http_goes_on_from_what_failed(client: APIClient, owner: User, run: Run, engine: Engine) -> None:
    graph = draw(owner, {"bad": ("ProbePure", {"fail": "always"})})
    failed = run(graph)
    answer = client.post(below(graph, failed, "retry"))
    assert (answer.status_code, answer.json()["source_run_id"]) == (200, str(failed.pk))
    engine.ring([UUID(answer.json()["id"])])
    assert ended(UUID(answer.json()["id"])).node_error_count == 1


def test_what_cannot_be_run_again_is_refused_and_nothing_is_started(
    client: APIClient, owner: User, run: Run, sum_of_two: Drawn
) -> None:
    done = run(sum_of_two, x=1)
    going = make.a_run(owner, sum_of_two.id, status=Status.WAITING)
    node = {"node_id": str(sum_of_two.nodes["add"])}
    for answer, status, code in (
        (client.post(below(sum_of_two, done, "retry")), 409, "nothing_to_retry"),
        (client.post(below(sum_of_two, going, "retry")), 409, "run_under_way"),
        (client.post(below(sum_of_two, going, "replay"), node, format="json"), 409, "run_under_way"),
        (client.post(below(sum_of_two, done, "replay"), {"node_id": str(uuid4())}, format="json"), 404, "no_such_node"),
        (client.post(below(sum_of_two, done, "replay"), {}, format="json"), 422, "request_invalid"),
        (
            client.post(below(sum_of_two, done, "replay"), {**node, "inputs": {"b": 1, "c": 2}}, format="json"),
            400,
            "not_runnable",
        ),
        (client.get(below(sum_of_two, done, "diff")), 422, "request_invalid"),
        (client.get(below(sum_of_two, done, f"diff?with={uuid4()}")), 404, "no_such_run"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert GraphExecution.objects.count() == 2


def test_the_run_of_another_is_not_there(
    stranger: APIClient, anonymous: APIClient, run: Run, sum_of_two: Drawn
) -> None:
    done = run(sum_of_two, x=1)
    body = {"node_id": str(sum_of_two.nodes["add"])}
    for client, status in ((stranger, 404), (anonymous, 401)):
        for answer in (
            client.post(below(sum_of_two, done, "retry")),
            client.post(below(sum_of_two, done, "replay"), body, format="json"),
            client.get(below(sum_of_two, done, f"diff?with={done.pk}")),
            client.get(below(sum_of_two, done, "why")),
        ):
            assert answer.status_code == status
    assert GraphExecution.objects.count() == 1


def test_the_first_node_where_two_runs_part_is_named(
    client: APIClient, owner: User, run: Run, sum_of_two: Drawn
) -> None:
    one, same, other = run(sum_of_two, x=1), run(sum_of_two, x=1), run(sum_of_two, x=5)
    equal = client.get(below(sum_of_two, one, f"diff?with={same.pk}"))
    assert (equal.status_code, equal.json()) == (200, {"equal": True, "inputs": None, "outputs": None})
    found = client.get(below(sum_of_two, one, f"diff?with={other.pk}")).json()
    assert (found["equal"], found["inputs"]["node_id"]) == (False, str(sum_of_two.nodes["in"]))
    assert [found["inputs"][side]["value"]["value"] for side in "ab"] == [1, 5]
    assert found["outputs"] == {
        "node_id": str(sum_of_two.nodes["in"]),
        "block": "AgentInputBlock",
        "a": {"activation": 0, "pin": "result", "value": 1},
        "b": {"activation": 0, "pin": "result", "value": 5},
    }
    stopped = make.a_run(owner, sum_of_two.id, status=Status.TERMINATED)
    nothing = client.get(below(sum_of_two, one, f"diff?with={stopped.pk}")).json()
    assert (nothing["outputs"]["a"]["value"], nothing["outputs"]["b"]) == (1, None)
    elsewhere = run(draw(owner, {"one": ("StoreValue", {"input": 1})}))
    refused = client.get(below(sum_of_two, one, f"diff?with={elsewhere.pk}"))
    assert (refused.status_code, refused.json()["code"]) == (400, "not_comparable")


def told(*command: str) -> str:
    """What a command prints."""
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue().strip()


def test_the_commands_do_the_same(owner: User, run: Run, engine: Engine, sum_of_two: Drawn) -> None:
    first = run(sum_of_two, x=1)
    node = str(sum_of_two.nodes["add"])
    fresh = UUID(told("replay_run", str(first.pk), node, "--inputs", json.dumps({"b": 3})))
    engine.ring([fresh])
    assert outputs(ended(fresh)) == {"out": [4.0]}
    assert told("diff_runs", str(first.pk), str(first.pk)).startswith("The runs are equal")
    assert f'"node_id": "{node}"' in told("diff_runs", str(first.pk), str(fresh))
    for refused, reason in (
        (("retry_run", str(first.pk)), "Every node of the run succeeded"),
        (("replay_run", str(first.pk), node, "--inputs", "["), "--inputs is not JSON"),
        (("replay_run", str(first.pk), node, "--inputs", "[]"), "--inputs must be an object"),
        (("diff_runs", str(first.pk), str(uuid4())), "There is no such run"),
    ):
        with pytest.raises(CommandError, match=reason):
            told(*refused)
    bad = run(draw(owner, {"bad": ("ProbePure", {"fail": "always"})}))
    assert GraphExecution.objects.get(pk=UUID(told("retry_run", str(bad.pk)))).source_run_id == bad.pk


def test_a_run_that_catches_up_while_it_is_compared_does_not_differ(
    run: Run, sum_of_two: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = run(sum_of_two, x=1), run(sum_of_two, x=1)
    late = NodeOutput.objects.get(run=other.pk, node_execution__node_id=sum_of_two.nodes["in"], pin="result")
    NodeOutput.objects.filter(pk=late.pk).delete()
    assert compare.diff_runs(one.pk, other.pk)["outputs"]["node_id"] == str(sum_of_two.nodes["in"])
    rows_of = reading.rows_of

    def rows_after_all(query: str, arguments: Any) -> Any:
        if "FULL JOIN" in query:
            late.save(force_insert=True)
        return rows_of(query, arguments)

    monkeypatch.setattr(compare, "rows_of", rows_after_all)
    assert compare.diff_runs(one.pk, other.pk) == {"equal": True, "inputs": None, "outputs": None}
