"""The menu through its door."""

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from builder import services
from builder.models import Search
from core.ids import uuid7
from executions.models import NodeExecution
from graphs.blocks.registry import BLOCKS
from tests import make
from tests.drawing import block_id

PLACEABLE = [block for block in BLOCKS.all() if not block.disabled]


@pytest.fixture(autouse=True)
def _asked_anew() -> None:
    services._used.cache_clear()


def get(client: APIClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/builder/{path}", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["name"] for item in items]


# --- Browsing ---------------------------------------------------------------------------------------------------


def test_categories_come_by_name_with_their_size_and_first_blocks(api: APIClient) -> None:
    sizes = Counter(category.value.lower() for block in PLACEABLE for category in block.categories)
    found = get(api, "categories", blocks_per_category=2)
    assert [(each["name"], each["total_blocks"]) for each in found] == sorted(sizes.items())
    text = next(each for each in found if each["name"] == "text")
    assert names(text["blocks"]) == [b.name for b in PLACEABLE if "TEXT" in b.categories][:2]
    assert all(len(each["blocks"]) == min(3, each["total_blocks"]) for each in get(api, "categories"))


def test_blocks_are_listed_by_one_of_category_type_and_provider(api: APIClient) -> None:
    found = get(api, "blocks", page_size=100)
    assert names(found["blocks"]) == [block.name for block in PLACEABLE]
    assert found["pagination"] == {
        "total_items": len(PLACEABLE),
        "total_pages": 1,
        "current_page": 1,
        "page_size": 100,
    }
    catalogue = {block["id"]: block for block in api.get("/api/blocks").json()}
    assert found["blocks"] == [catalogue[block["id"]] for block in found["blocks"]]
    for kind in ("Input", "Output"):
        assert {block["uiType"] for block in get(api, "blocks", type=kind.lower())["blocks"]} == {kind}
    actions = {block["uiType"] for block in get(api, "blocks", type="action", page_size=100)["blocks"]}
    assert actions
    assert not actions & {"Input", "Output", "Agent"}
    logic = get(api, "blocks", category="LOGIC", page_size=100)["blocks"]
    assert names(logic) == [block.name for block in PLACEABLE if "LOGIC" in block.categories]
    assert get(api, "blocks", provider="nobody")["blocks"] == []
    assert names(get(api, "blocks", page=2, page_size=10)["blocks"]) == [block.name for block in PLACEABLE[10:20]]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"category": "text", "type": "all"}, 400, "one_filter_only"),
        ({"type": "all", "provider": "x"}, 400, "one_filter_only"),
        ({"type": "verb"}, 422, "request_invalid"),
        ({"page": 0}, 422, "request_invalid"),
        ({"page_size": 101}, 422, "request_invalid"),
    ],
)
def test_what_cannot_be_listed_is_refused(api: APIClient, query: dict[str, Any], status: int, code: str) -> None:
    answer = api.get("/api/builder/blocks", query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_blocks_come_by_their_ids_in_that_order_without_those_that_do_not_exist(api: APIClient) -> None:
    ids = [block_id("AgentOutput"), "nothing", block_id("AgentInput"), block_id("AgentOutput")]
    assert names(get(api, "blocks/batch", block_ids=ids)) == ["AgentOutputBlock", "AgentInputBlock"]
    assert api.get("/api/builder/blocks/batch").status_code == 422


def test_counts_and_providers_tell_what_there_is(api: APIClient, user: Any, stranger: APIClient) -> None:
    make.a_graph(user)
    kinds = Counter(block.kind.value for block in PLACEABLE)
    providers = get(api, "providers")
    expected = {
        "all_blocks": len(PLACEABLE),
        "input_blocks": kinds["Input"],
        "output_blocks": kinds["Output"],
        "action_blocks": len(PLACEABLE) - kinds["Input"] - kinds["Output"] - kinds["Agent"],
        "integrations": providers["pagination"]["total_items"],
        "marketplace_agents": 0,
    }
    assert get(api, "counts") == {**expected, "my_agents": 1}
    assert get(stranger, "counts") == {**expected, "my_agents": 0}
    for provider in providers["providers"]:
        blocks = get(api, "blocks", provider=provider["name"])
        assert blocks["pagination"]["total_items"] == provider["integration_count"]
    # A package that tests install brings one.
    assert providers["providers"]


# --- Searching --------------------------------------------------------------------------------------------------


def test_a_search_finds_blocks_and_my_graphs_best_first(api: APIClient, user: Any) -> None:
    graph = make.a_graph(user, make.a_drawing(name="Agent Input"))
    make.a_graph(make.a_user(), make.a_drawing(name="Agent Input of somebody else"))
    found = get(api, "search", search_query="  agent INPUT ", page_size=100)
    # Both names are exact; what is said of the block fits, too.
    assert names(found["items"])[:2] == ["AgentInputBlock", "Agent Input"]
    assert "Agent Input of somebody else" not in names(found["items"])
    assert found["total_items"]["my_agents"] == 1
    assert found["total_items"]["marketplace_agents"] == 0
    assert sum(found["total_items"].values()) == found["pagination"]["total_items"]
    agent = found["items"][1]
    assert (agent["graph_id"], agent["graph_version"], agent["status"]) == (str(graph.graph_id), 1, "COMPLETED")
    assert agent["input_schema"]["required"] == ["who"]


def test_a_graph_that_is_found_tells_how_its_last_run_stands(api: APIClient, user: Any) -> None:
    graph = make.a_graph(user, make.a_drawing(name="unmistakable"))
    make.a_run(user, graph.graph_id)
    found = get(api, "search", search_query="unmistakable", filter="my_agents")
    assert [(item["name"], item["status"]) for item in found["items"]] == [("unmistakable", "WAITING")]


def test_a_search_can_be_for_some_kinds_only(api: APIClient, user: Any) -> None:
    make.a_graph(user)
    found = get(api, "search", filter=["my_agents", "marketplace_agents"])
    assert names(found["items"]) == ["drawn"]
    assert found["total_items"] == {"blocks": 0, "integrations": 0, "marketplace_agents": 0, "my_agents": 1}
    both = get(api, "search", filter=["blocks", "integrations"], page_size=100)
    assert names(both["items"]) == sorted(names(both["items"]), key=str.lower)
    assert len(both["items"]) == len(PLACEABLE)
    assert api.get("/api/builder/search", {"filter": "everything"}).status_code == 422


def test_searches_are_remembered_and_one_that_goes_on_takes_the_place_of_its_beginning(
    api: APIClient, user: Any, stranger: APIClient
) -> None:
    first = get(api, "search", search_query="ag", filter="blocks")["search_id"]
    assert get(api, "search", search_query="agent", search_id=first, by_creator=["ann"])["search_id"] == first
    assert get(api, "search")["search_id"] == ""
    others = get(stranger, "search", search_query="spy", search_id=first)["search_id"]
    assert others != first
    assert get(api, "suggestions")["recent_searches"] == [
        {"search_id": first, "search_query": "agent", "filter": [], "by_creator": ["ann"]}
    ]
    for number in range(6):
        get(api, "search", search_query=f"{number}" * 300)
    recent = get(api, "suggestions")["recent_searches"]
    assert [search["search_query"] for search in recent] == [f"{number}" * 100 for number in (5, 4, 3, 2, 1)]


def test_only_the_last_searches_are_kept(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "KEPT", 3)
    kept = [services.remember(user, None, f"q{number}", [], []) for number in range(5)][2:]
    other = services.remember(make.a_user(), None, "mine", [], [])
    assert set(Search.objects.values_list("pk", flat=True)) == {*kept, other}


# --- Suggestions ------------------------------------------------------------------------------------------------


def test_suggestions_show_the_actions_that_ran_most_in_thirty_days(api: APIClient, user: Any) -> None:
    run = make.a_run(user, make.a_graph(user).graph_id)
    long_ago = timedelta(days=31) // timedelta(milliseconds=1) << 80
    uses = [("AgentInput", 9, 0), ("FillTextTemplate", 3, 0), ("GetListItem", 2, 0), ("FindInDictionary", 5, long_ago)]
    for name, times, age in uses:
        for _ in range(times):
            row = make.an_activation(run, uuid7(), name)
            if age:
                NodeExecution.objects.filter(pk=row.pk).update(id=UUID(int=row.pk.int - age))
    found = get(api, "suggestions")
    assert names(found["top_blocks"]) == ["FillTextTemplateBlock", "GetListItemBlock"]
    assert len(found["otto_suggestions"]) == 3
    assert found["providers"] == [provider["name"] for provider in get(api, "providers")["providers"]][:6]


def test_nobody_sees_the_menu_without_a_token(anonymous: APIClient) -> None:
    for path in ("suggestions", "categories", "blocks", "blocks/batch", "providers", "search", "counts"):
        assert anonymous.get(f"/api/builder/{path}").status_code == 401
    assert Search.objects.count() == 0
