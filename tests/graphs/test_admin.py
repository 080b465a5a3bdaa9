"""Graphs in the admin site: shown to admins, changed by nobody."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Role, User
from graphs.models import Graph, GraphVersion
from tests import make


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    client.force_login(make.a_user(role=Role.ADMIN))
    return client


def test_ordinary_users_are_sent_to_the_login(client: Client, user: User) -> None:
    client.force_login(user)
    answer = client.get("/admin/graphs/graph/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("search", ["", "tool", "person", "no such thing"])
def test_graphs_can_be_listed_and_searched(admin: Client, user: User, search: str) -> None:
    make.a_graph(user, make.a_drawing(name="tool"))
    page = admin.get("/admin/graphs/graph/", {"q": search}).content.decode()
    assert (str(Graph.objects.get().pk) in page) is (search != "no such thing")


def test_the_list_takes_as_many_queries_for_many_graphs_as_for_one(admin: Client, user: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            admin.get("/admin/graphs/graph/")
        return len(captured)

    make.a_graph(user)
    queries()  # the first look at the site also reads the content types
    few = queries()
    for _ in range(5):
        make.a_graph(user)
    assert queries() == few


def test_a_version_shows_its_drawing_without_constants(admin: Client, user: User) -> None:
    secret = "sk-proj-4fTq81LmVbXc93RzQnYw"
    version = make.a_graph(user, make.a_drawing({"a": ("StoreValue", {"input": secret})}))
    page = admin.get(f"/admin/graphs/graphversion/{version.pk}/change/").content.decode()
    assert "StoreValueBlock" in page
    assert secret not in page
    assert admin.get(f"/admin/graphs/graph/{version.graph_id}/change/").status_code == 200
    assert admin.get("/admin/graphs/graphversion/").status_code == 200


def test_nothing_can_be_changed_there(admin: Client, user: User) -> None:
    version = make.a_graph(user)
    assert admin.post(f"/admin/graphs/graph/{version.graph_id}/change/", {"latest_version": 9}).status_code == 403
    assert admin.post(f"/admin/graphs/graphversion/{version.pk}/change/", {"name": "x"}).status_code == 403
    assert admin.get("/admin/graphs/graph/add/").status_code == 403
    assert admin.post(f"/admin/graphs/graphversion/{version.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.post(f"/admin/graphs/graph/{version.graph_id}/delete/", {"post": "yes"}).status_code == 403
    assert GraphVersion.objects.get().name == "drawn"
