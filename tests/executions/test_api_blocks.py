"""A block run by itself, through the doors for people and for programs."""

import os
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKeyPermission, User
from executions import one_block
from executions.models import GraphExecution, NodeExecution
from graphs.blocks.registry import BLOCKS
from tests.drawing import block_id

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(autouse=True, scope="module")
def _in_an_environment_of_its_own() -> None:
    """Have the server of processes started anew: another test may have started one that knows no probes."""
    one_block._server.cache_clear()


def execute(client: APIClient, block: str, body: Any, root: str = "/api") -> Any:
    return client.post(f"{root}/blocks/{block_id(block)}/execute", body, format="json")


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_block_gives_its_outputs_by_pin_and_leaves_no_rows(api: APIClient) -> None:
    answer = execute(api, "Calculator", {"operation": "Add", "a": "40", "b": 2, "unknown": 1})
    assert (answer.status_code, answer.json()) == (200, {"result": [42.0]})
    assert execute(api, "ProbeRead", {"value": {"a": [None]}, "times": 3}).json() == {"value": [{"a": [None]}] * 3}
    template = {"format": "{{ who|upper }}!", "values_#_who": "ann"}
    assert execute(api, "FillTextTemplate", template).json() == {"output": ["ANN!"]}
    assert (GraphExecution.objects.count(), NodeExecution.objects.count()) == (0, 0)


def test_a_program_needs_the_permission_and_gets_the_same(user: User, anonymous: APIClient) -> None:
    body = {"operation": "Add", "a": 1, "b": 2}
    assert refusal(execute(anonymous, "Calculator", body)) == (401, "not_authenticated")
    anonymous.credentials(HTTP_X_API_KEY=keys.create_key(user, "k", [ApiKeyPermission.EXECUTE_GRAPH])[1])
    assert refusal(execute(anonymous, "Calculator", body, "/external-api/v1")) == (403, "permission_missing")
    anonymous.credentials(HTTP_X_API_KEY=keys.create_key(user, "k", [ApiKeyPermission.EXECUTE_BLOCK])[1])
    assert execute(anonymous, "Calculator", body, "/external-api/v1").json() == {"result": [3.0]}


def test_inputs_that_do_not_fit_are_named(api: APIClient) -> None:
    answer = execute(api, "Calculator", {"operation": "Add", "a": "many", "b": 2})
    assert refusal(answer) == (400, "block_input_invalid")
    assert answer.json()["pins"].keys() == {"a"}
    assert refusal(execute(api, "Calculator", {})) == (400, "block_input_invalid")
    assert refusal(execute(api, "AddToList", {"list_$_x": 1})) == (400, "block_input_invalid")
    # No credentials are put in.
    assert execute(api, "ProbeMail", {"text": "hi"}).json()["pins"].keys() == {"credentials"}
    assert execute(api, "Calculator", [1]).status_code == 422


def test_a_block_that_fails_tells_why_and_what_it_gave_before(api: APIClient) -> None:
    answer = execute(api, "ProbeRead", {"value": 1, "times": 2, "fail": "no luck"})
    assert refusal(answer) == (400, "block_failed")
    assert answer.json()["message"] == "ProbeRead: RuntimeError: no luck"
    assert answer.json()["outputs"] == {"value": [1, 1]}


def test_a_block_that_dies_or_never_ends_hurts_only_itself(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = execute(api, "ProbeApart", {"value": 1, "ends": "kill"})
    assert refusal(answer) == (400, "block_failed")
    assert answer.json()["message"] == "ProbeApart: its process died (signal 9, SIGKILL)"
    monkeypatch.setattr(one_block, "SECONDS", 0.3)
    answer = execute(api, "ProbeApart", {"value": 1, "ends": "loop"})
    assert refusal(answer) == (400, "block_failed")
    assert answer.json()["message"] == "ProbeApart: not done within 0.3 s"
    assert answer.json()["outputs"] == {"value": [1]}


def test_it_runs_in_another_process(api: APIClient, tmp_path: Any) -> None:
    log = tmp_path / "log"
    execute(api, "ProbeApart", {"value": 1, "log": str(log)})
    assert int(log.read_text().split()[2]) != os.getpid()


def test_a_block_that_waits_is_refused(api: APIClient) -> None:
    assert refusal(execute(api, "ProbeApart", {"value": 1, "ends": "sleep"})) == (400, "block_waits")


def test_a_block_that_is_switched_off_and_one_that_is_not_there_are_refused(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(api.post("/api/blocks/nothing/execute", {}, format="json")) == (404, "unknown_block")
    monkeypatch.setattr(type(BLOCKS.get(block_id("Calculator"))), "disabled", True)
    assert refusal(execute(api, "Calculator", {})) == (403, "block_disabled")


def test_only_so_many_run_at_once(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_block, "TURN_SECONDS", 0.01)
    turns = one_block._turns()
    while turns.acquire(blocking=False):
        pass
    try:
        assert refusal(execute(api, "Calculator", {"operation": "Add", "a": 1, "b": 2})) == (503, "blocks_busy")
    finally:
        one_block._turns.cache_clear()


def test_it_knows_the_time_zone_of_whoever_asks() -> None:
    assert one_block._context(User(time_zone="Europe/Zurich")).time_zone == "Europe/Zurich"
    assert one_block._context(User(time_zone="not-set")).time_zone == "UTC"
