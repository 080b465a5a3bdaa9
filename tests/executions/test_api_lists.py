"""Turning the pages of lists of runs, however long they are."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from core.paging import MOST_COUNTED, Place
from executions.models import GraphExecution
from graphs.models import GraphVersion
from tests import make

NOW = datetime(2027, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CURSOR = Place(2, NOW, UUID(int=3)).text()

_ADD = """
INSERT INTO executions_graphexecution (
    id, user_id, graph_id, graph_version, inputs, credential_inputs, nodes_input_masks, created_at)
SELECT gen_random_uuid(), %s, %s, 1, '{}', '{}', '{}', now() - make_interval(secs => age)
FROM generate_series(1, %s) age
"""


@pytest.fixture
def graph(user: User) -> GraphVersion:
    """Whose runs are listed."""
    return make.a_graph(user)


def add_runs(graph: GraphVersion, count: int) -> None:
    """Give the graph's owner runs, each a second older than the one before."""
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [graph.graph.owner_id, graph.graph_id, count])


def address_of(graph: GraphVersion) -> str:
    """Where the runs of a graph are listed."""
    return f"/api/graphs/{graph.graph_id}/executions"


def pages_of(api: APIClient, graph: GraphVersion, page_size: int) -> Iterator[dict[str, Any]]:
    """The pages of a graph's runs, each by the cursor of the one before; it is asked for when it is needed."""
    query: dict[str, Any] = {"page_size": page_size}
    while True:
        answer = api.get(address_of(graph), query)
        assert answer.status_code == 200, answer.content
        yield answer.json()
        if not (cursor := answer.json()["pagination"]["next_cursor"]):
            return
        query["cursor"] = cursor


def ids_on(page: dict[str, Any]) -> list[str]:
    """The runs on a page."""
    return [run["id"] for run in page["executions"]]


def newest_first() -> list[str]:
    """All runs that there are."""
    return [str(pk) for pk in GraphExecution.objects.order_by("-created_at", "-pk").values_list("pk", flat=True)]


def test_a_list_is_read_to_its_end_by_cursors(api: APIClient, graph: GraphVersion) -> None:
    add_runs(graph, 5)
    runs = newest_first()

    pages = list(pages_of(api, graph, 2))

    assert [ids_on(page) for page in pages] == [runs[:2], runs[2:4], runs[4:]]
    assert [page["pagination"]["current_page"] for page in pages] == [1, 2, 3]
    assert {(page["pagination"]["total_items"], page["pagination"]["total_pages"]) for page in pages} == {(5, 3)}


def test_the_last_page_has_no_cursor_even_when_it_is_full(api: APIClient, graph: GraphVersion) -> None:
    add_runs(graph, 4)

    assert [len(ids_on(page)) for page in pages_of(api, graph, 2)] == [2, 2]


def test_an_empty_list_has_one_page_without_a_cursor(api: APIClient, graph: GraphVersion) -> None:
    (page,) = pages_of(api, graph, 2)

    assert page == {
        "executions": [],
        "pagination": {"total_items": 0, "total_pages": 0, "current_page": 1, "page_size": 2, "next_cursor": None},
    }


def test_a_page_by_number_leads_on_by_cursor(api: APIClient, graph: GraphVersion) -> None:
    add_runs(graph, 5)
    runs = newest_first()

    second = api.get(address_of(graph), {"page": 2, "page_size": 2}).json()
    query: dict[str, Any] = {"cursor": second["pagination"]["next_cursor"], "page_size": 2}
    third = api.get(address_of(graph), query).json()

    assert (ids_on(second), ids_on(third)) == (runs[2:4], runs[4:])
    assert third["pagination"]["current_page"] == 3


def test_runs_that_begin_meanwhile_neither_shift_the_pages_nor_appear_in_them(
    api: APIClient, user: User, graph: GraphVersion
) -> None:
    add_runs(graph, 6)
    runs = newest_first()
    pages = pages_of(api, graph, 2)
    read = ids_on(next(pages))

    for page in pages:
        make.a_run(user, graph.graph_id)
        read += ids_on(page)

    assert read == runs


def test_runs_that_are_deleted_meanwhile_make_no_other_missing(api: APIClient, graph: GraphVersion) -> None:
    add_runs(graph, 6)
    runs = newest_first()
    pages = pages_of(api, graph, 2)
    read = ids_on(next(pages))

    # The one that the cursor was made of, one that was read and one that was not.
    for gone in (runs[1], runs[0], runs[2]):
        assert api.delete(f"/api/executions/{gone}").status_code == 204
    for page in pages:
        read += ids_on(page)

    assert read == [*runs[:2], *runs[3:]]


def test_runs_of_one_moment_are_each_listed_once(api: APIClient, user: User, graph: GraphVersion) -> None:
    moment = timezone.now()
    for _ in range(7):
        make.a_run(user, graph.graph_id, created_at=moment)

    read = [run for page in pages_of(api, graph, 2) for run in ids_on(page)]

    assert read == newest_first()


def test_the_list_of_all_runs_tells_its_cursor_in_a_header(api: APIClient, graph: GraphVersion) -> None:
    add_runs(graph, 3)
    runs = newest_first()

    first = api.get("/api/executions", {"page_size": 2})
    last = api.get("/api/executions", {"page_size": "2", "cursor": first["X-Next-Cursor"]})

    assert [[run["id"] for run in answer.json()] for answer in (first, last)] == [runs[:2], runs[2:]]
    assert last["X-Current-Page"] == "2"
    assert "X-Next-Cursor" not in last


def test_a_cursor_shows_nobody_what_is_not_theirs(api: APIClient, stranger: APIClient, graph: GraphVersion) -> None:
    add_runs(graph, 3)
    cursor = api.get("/api/executions", {"page_size": 1})["X-Next-Cursor"]

    assert stranger.get("/api/executions", {"cursor": cursor}).json() == []
    assert stranger.get(address_of(graph), {"cursor": cursor}).json()["executions"] == []


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "2",
        "x" * 40,
        "ä" * 40,
        CURSOR[:-1],
        CURSOR + "A",
        CURSOR + "====",
        CURSOR[:8] + " " + CURSOR[9:],
        Place(1, NOW, UUID(int=3)).text(),
        # Another version, and a time that no calendar has.
        "AAI" + CURSOR[3:],
        CURSOR[:8] + "f" * 10 + CURSOR[18:],
    ],
)
@pytest.mark.parametrize("path", ["/api/executions", f"/api/graphs/{UUID(int=1)}/executions"])
def test_a_cursor_that_no_page_gave_is_refused(api: APIClient, path: str, cursor: str) -> None:
    answer = api.get(path, {"cursor": cursor})

    assert answer.status_code == 422
    assert answer.json()["detail"] == [
        {"loc": ["query", "cursor"], "msg": "Input should be a next_cursor of this list", "type": "cursor"}
    ]


def test_a_cursor_and_a_page_do_not_go_together(api: APIClient) -> None:
    answer = api.get("/api/executions", {"cursor": CURSOR, "page": "1"})

    assert answer.status_code == 422
    assert [(problem["loc"], problem["type"]) for problem in answer.json()["detail"]] == [
        (["query", "cursor"], "cursor_or_page")
    ]


@pytest.mark.parametrize("time", [datetime(1969, 7, 20, 20, 17, 40, 999_999, tzinfo=UTC), NOW])
def test_a_cursor_keeps_its_place_to_the_microsecond(time: datetime) -> None:
    place = Place(2**32 - 1, time, UUID(int=2**128 - 1))

    assert Place.of(place.text()) == place
    assert len(place.text()) == 40


def test_pages_end_after_ten_thousand_items_and_the_answer_names_the_cursor(api: APIClient) -> None:
    assert api.get("/api/executions", {"page": 400, "page_size": 25}).status_code == 200
    answer = api.get("/api/executions", {"page": 401, "page_size": 25})

    assert answer.status_code == 422
    assert answer.json()["detail"] == [
        {
            "loc": ["query", "page"],
            "msg": "Pages of 25 are numbered up to 400, for the first 10,000 items. "
            "Read on with `cursor` from `next_cursor`.",
            "type": "too_deep",
        }
    ]
    assert api.get("/api/review/pending", {"page": 401, "page_size": 25}).status_code == 422


class TestLong:
    """A list that is longer than anybody counts."""

    @pytest.fixture(autouse=True)
    def runs(self, graph: GraphVersion) -> None:
        """Some more than are counted."""
        add_runs(graph, MOST_COUNTED + 30)

    def test_it_is_counted_to_ten_thousand_and_read_to_its_end(self, api: APIClient, graph: GraphVersion) -> None:
        runs = newest_first()
        page = api.get(address_of(graph), {"page": 100, "page_size": 100}).json()
        assert ids_on(page) == runs[9_900:10_000]
        cursor = page["pagination"].pop("next_cursor")
        assert page["pagination"] == {
            "total_items": 10_000,
            "total_pages": 100,
            "current_page": 100,
            "page_size": 100,
        }

        page = api.get(address_of(graph), {"cursor": cursor, "page_size": 100}).json()
        assert ids_on(page) == runs[10_000:]
        assert page["pagination"] == {
            "total_items": 10_000,
            "total_pages": 100,
            "current_page": 101,
            "page_size": 100,
            "next_cursor": None,
        }

    @pytest.mark.parametrize("query", [{"page_size": 25}, {"page_size": 25, "cursor": CURSOR}])
    @pytest.mark.parametrize("whose", ["user", "graph"])
    def test_its_runs_are_counted_and_found_in_the_order_of_an_index(
        self, api: APIClient, graph: GraphVersion, whose: str, query: dict[str, Any]
    ) -> None:
        path = "/api/executions" if whose == "user" else address_of(graph)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE executions_graphexecution")
        with CaptureQueriesContext(connection) as queries:
            assert api.get(path, query).status_code == 200

        assert len(queries) == 2
        for plan in (plan_of(query["sql"]) for query in queries):
            assert "using list_of_a_" in plan
            assert "Seq Scan" not in plan
            assert "Sort" not in plan


def plan_of(statement: str) -> str:
    """How Postgres would run a statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        return "\n".join(line for (line,) in cursor.fetchall())
