"""Entity tags of graphs and blocks: what still holds is not sent again, and nobody overwrites what they never saw."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKeyPermission, User
from graphs import services
from graphs.models import Graph, GraphVersion
from tests import make


def ask_again(api: APIClient, path: str, tag: str) -> Any:
    return api.get(path, headers={"If-None-Match": tag})


@pytest.fixture
def graph(user: User) -> GraphVersion:
    return make.a_graph(user)


def paths_of(graph: GraphVersion) -> list[str]:
    own = f"/api/graphs/{graph.graph_id}"
    return ["/api/blocks", "/api/graphs", own, f"{own}?for_export=true", f"{own}/versions", f"{own}/versions/1"]


def test_what_still_holds_is_not_sent_again(api: APIClient, graph: GraphVersion) -> None:
    for path in paths_of(graph):
        first = api.get(path)
        again = ask_again(api, path, first["ETag"])
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path
        assert again["ETag"] == first["ETag"]
        assert "Content-Type" not in again.headers
        for tags in ("*", f'"other", {first["ETag"]}', f"W/{first['ETag']}"):
            assert ask_again(api, path, tags).status_code == 304
        for tags in ('"other"', "nonsense", ""):
            assert ask_again(api, path, tags).content == first.content


def test_each_answer_has_a_tag_of_its_own(api: APIClient, graph: GraphVersion) -> None:
    tags = [api.get(path)["ETag"] for path in paths_of(graph)]
    shown_otherwise = [api.get("/api/graphs?page_size=3")["ETag"], api.get("/api/graphs?page=2")["ETag"]]

    # The newest version is version 1.
    assert tags[2] == tags[5]
    assert len({*tags, *shown_otherwise}) == len(tags) - 1 + 2


def test_programs_are_told_too(user: User, graph: GraphVersion) -> None:
    permissions = [ApiKeyPermission.READ_GRAPH, ApiKeyPermission.READ_BLOCK]
    program = APIClient(headers={"X-API-Key": keys.create_key(user, "program", permissions)[1]})

    for path in ("blocks", "graphs", f"graphs/{graph.graph_id}"):
        first = program.get(f"/external-api/v1/{path}")
        assert ask_again(program, f"/external-api/v1/{path}", first["ETag"]).status_code == 304


def test_a_graph_that_still_holds_is_told_so_without_reading_its_drawing(
    api: APIClient, graph: GraphVersion, django_assert_num_queries: Any
) -> None:
    path = f"/api/graphs/{graph.graph_id}"
    tag = api.get(path)["ETag"]

    with django_assert_num_queries(2) as asked:
        assert ask_again(api, path, tag).status_code == 304
    assert all("input_default" not in query["sql"] for query in asked.captured_queries)


def test_the_list_is_told_so_in_one_query(api: APIClient, user: User, django_assert_num_queries: Any) -> None:
    for _ in range(5):
        make.a_graph(user)
    tag = api.get("/api/graphs")["ETag"]

    with django_assert_num_queries(1):
        assert ask_again(api, "/api/graphs", tag).status_code == 304


def test_every_change_that_shows_makes_another_tag(api: APIClient, user: User) -> None:
    inner = make.a_graph(user)
    agent = make.an_agent(str(inner.graph_id), inputs=["who"], outputs=["shout"])
    outer = make.a_graph(user, make.a_drawing({"call": agent}))
    path, listed = f"/api/graphs/{outer.graph_id}", "/api/graphs"
    drawing = make.a_drawing({"call": agent})
    stranger = make.a_user()

    def tags() -> tuple[str, str]:
        return api.get(path)["ETag"], api.get(listed)["ETag"]

    def changes(action: Any) -> tuple[bool, bool]:
        before = tags()
        bodies = api.get(path).content, api.get(listed).content
        action()
        after = tags()
        shown = api.get(path).content, api.get(listed).content
        # Whatever shows has another tag.
        for index in (0, 1):
            assert shown[index] == bodies[index] or after[index] != before[index]
        return after[0] != before[0], after[1] != before[1]

    assert changes(lambda: api.put(path, drawing, format="json")) == (True, True)
    assert changes(lambda: services.activate(user, outer.graph_id, 1)) == (True, True)
    assert changes(lambda: api.put(f"/api/graphs/{inner.graph_id}", make.a_drawing(), format="json")) == (True, True)
    assert changes(lambda: services.activate(user, inner.graph_id, 1)) == (True, True)
    assert changes(lambda: services.delete_graph(user, inner.graph_id)) == (True, True)
    assert changes(lambda: make.a_graph(stranger)) == (False, False)


def test_a_tag_opens_nothing_that_is_not_yours(stranger: APIClient, api: APIClient, graph: GraphVersion) -> None:
    for path in paths_of(graph)[2:]:
        tag = api.get(path)["ETag"]
        assert ask_again(stranger, path, tag).status_code == 404
        assert ask_again(stranger, path, "*").status_code == 404
    assert ask_again(stranger, "/api/graphs", api.get("/api/graphs")["ETag"]).json() == []


# --- If-Match ---------------------------------------------------------------------------------------------------


def test_a_version_is_saved_only_over_the_one_that_was_seen(api: APIClient, graph: GraphVersion) -> None:
    path = f"/api/graphs/{graph.graph_id}"
    seen = api.get(path)["ETag"]

    def save(**headers: str) -> Any:
        return api.put(path, make.a_drawing(), format="json", headers=headers)

    first = save(**{"If-Match": seen})
    late = save(**{"If-Match": seen})

    assert first.status_code == 200
    assert late.status_code == 412
    assert late.json()["code"] == "graph_changed"
    assert late.json()["latest_version"] == 2
    assert Graph.objects.get(pk=graph.graph_id).latest_version == 2
    # The answer to a change has the tag to go on with, also in its weak form.
    second = save(**{"If-Match": f"W/{first['ETag']}"})
    assert (second.status_code, second.json()["version"]) == (200, 3)
    assert save(**{"If-Match": "*"}).status_code == 200
    assert save().status_code == 200
    assert [save(**{"If-Match": tag}).status_code for tag in ('"x"', "nonsense", f"{seen}, {first['ETag']}")] == [
        412
    ] * 3
    assert Graph.objects.get(pk=graph.graph_id).latest_version == 5


def test_to_overwrite_somebody_elses_graph_is_404_whatever_is_sent(stranger: APIClient, graph: GraphVersion) -> None:
    path = f"/api/graphs/{graph.graph_id}"
    answer = stranger.put(path, make.a_drawing(), format="json", headers={"If-Match": "*"})
    assert answer.status_code == 404


def test_of_eight_who_save_over_the_same_version_at_once_one_does(owner: User) -> None:
    graph = make.a_graph(owner)
    path = f"/api/graphs/{graph.graph_id}"

    def client() -> APIClient:
        made = APIClient()
        made.force_authenticate(owner)
        return made

    seen = client().get(path)["ETag"]

    def save(_: int) -> int:
        try:
            return int(client().put(path, make.a_drawing(), format="json", headers={"If-Match": seen}).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as crowd:
        statuses = sorted(crowd.map(save, range(8)))

    assert statuses == [200] + [412] * 7
    assert Graph.objects.get(pk=graph.graph_id).latest_version == 2
