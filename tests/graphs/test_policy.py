"""What a node may ask of the engine, and what is refused."""

import pytest
from rest_framework.test import APIClient

from graphs.models import Graph
from graphs.policy import Retry, policy_errors, policy_of
from tests.drawing import block_id


def test_pauses_grow_by_the_backoff_up_to_a_day():
    retry = Retry(attempts=5, seconds=2, backoff=3)
    assert [retry.pause_after(attempt) for attempt in range(1, 6)] == [2, 6, 18, 54, None]
    assert Retry(attempts=100, seconds=3600, backoff=10).pause_after(50) == 86_400


def test_other_metadata_is_the_editors():
    assert policy_of({"position": {"x": 1}, "customized_name": "Ask"}).retry.attempts == 1


@pytest.mark.parametrize(
    ("metadata", "places"),
    [
        ({"retry": {"attempts": 0}}, ["metadata.retry.attempts"]),
        ({"retry": {"attempts": 2, "pause": 1}}, ["metadata.retry.pause"]),
        ({"retry": "often"}, ["metadata.retry"]),
        ({"timeout_seconds": -1}, ["metadata.timeout_seconds"]),
        ({"isolated": "yes"}, ["metadata.isolated"]),
        ({"on_unknown": "hope"}, ["metadata.on_unknown"]),
        ({"timeout_seconds": "soon", "retry": {}}, ["metadata.retry.attempts", "metadata.timeout_seconds"]),
    ],
)
def test_a_policy_that_cannot_be_obeyed_is_named_by_place(metadata: dict[str, object], places: list[str]):
    assert sorted(policy_errors(metadata)) == places


def test_a_graph_with_such_a_policy_is_not_saved(api: APIClient):
    node = {"id": "one", "block_id": block_id("StoreValue"), "input_default": {"input": 1}}
    node["metadata"] = {"retry": {"attempts": 1000}}
    graph = {"name": "g", "description": "", "nodes": [node], "links": []}
    answer = api.post("/api/graphs", {"graph": graph}, format="json")
    assert answer.status_code == 400
    assert "metadata.retry.attempts" in str(answer.json())
    assert not Graph.objects.exists()
