"""Saving, calling, copying and loading graphs."""

import threading
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from graphs import services
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition
from graphs.errors import GraphInvalid, GraphNotFound
from graphs.models import Graph, GraphVersion, Link, Node
from graphs.schemas import GraphDraft
from tests import make


def draft(**fields: Any) -> GraphDraft:
    return GraphDraft.model_validate(make.a_drawing(**fields))


def caller(*calls: Any, **fields: Any) -> dict[str, Any]:
    """A drawing whose nodes call graphs, each given as (id, version)."""
    return make.a_drawing({f"agent-{n}": make.an_agent(*call) for n, call in enumerate(calls)}, **fields)


def calls_of(version: GraphVersion) -> list[tuple[str, int]]:
    return [(node.input_default["graph_id"], node.input_default["graph_version"]) for node in version.nodes.all()]


def test_a_definition_is_read_in_three_queries(user: User) -> None:
    version = make.a_graph(user)
    with CaptureQueriesContext(connection) as queries:
        definition = services.load_definition(version.graph_id, 1)
    assert len(queries) == 3
    nodes = list(version.nodes.all())
    assert definition == GraphDefinition(
        id=version.graph_id,
        version=1,
        owner_id=user.pk,
        name="drawn",
        nodes=tuple(NodeDefinition(n.pk, n.block_id, n.input_default, n.metadata) for n in nodes),
        links=tuple(
            LinkDefinition(x.pk, x.source_id, x.source_name, x.sink_id, x.sink_name, x.is_static)
            for x in version.links.all()
        ),
    )
    assert [node.input_default.get("name") for node in definition.nodes] == ["who", None, "shout"]


@pytest.mark.parametrize("version", [0, 2])
def test_a_version_that_is_not_there_is_not_found(user: User, version: int) -> None:
    graph_id = make.a_graph(user).graph_id
    with pytest.raises(GraphNotFound, match=f"version {version} of graph {graph_id}"):
        services.load_definition(graph_id, version)


def test_a_saved_version_never_changes(user: User) -> None:
    version = make.a_graph(user)
    for row in (version, version.nodes.all()[0], version.links.all()[0]):
        with pytest.raises(TypeError, match="is immutable"):
            row.save()


def test_nodes_and_links_keep_the_order_they_were_drawn_in(user: User) -> None:
    names = [f"n{number}" for number in range(30)]
    version = make.a_graph(user, make.a_drawing({name: ("StoreValue", {"input": name}) for name in names}))
    assert [node.input_default["input"] for node in version.nodes.all()] == names


def test_a_link_drawn_twice_is_saved_once(user: User) -> None:
    drawing = make.a_drawing()
    drawing["links"].append({**drawing["links"][1], "id": "again", "is_static": True})
    version = make.a_graph(user, drawing)
    assert [link.is_static for link in version.links.all()] == [True, False]


def test_links_from_static_blocks_are_static_and_others_stay_as_drawn(user: User) -> None:
    drawing = make.a_drawing(
        {"in": ("AgentInput", {"name": "x"}), "a": ("AddToList", {}), "b": ("AddToList", {})},
        ["in.result -> a.entry", "a.updated_list -> b.list", "a.updated_list -> b.entries"],
    )
    drawing["links"][2]["is_static"] = True
    assert [link.is_static for link in make.a_graph(user, drawing).links.all()] == [True, False, True]


def test_an_agent_belongs_to_whoever_saves_it(user: User) -> None:
    version = make.a_graph(user, caller((str(uuid4()),)))
    (node,) = version.nodes.all()
    assert node.input_default["user_id"] == str(user.pk)
    assert node.input_default["inputs"] == {}


def test_sub_graphs_are_saved_and_called_under_their_new_ids(user: User) -> None:
    sub = make.a_drawing(id="sub", name="sub", version=7)
    version = make.a_graph(user, caller(("sub", 7), ("sub", 7), sub_graphs=[sub]))
    saved = GraphVersion.objects.get(name="sub")
    assert calls_of(version) == [(str(saved.graph_id), 1)] * 2
    assert services.called_by([version]) == {version.pk: [saved]}
    assert saved.graph.owner == user


def test_versions_of_one_sub_graph_stay_versions_of_one_graph(user: User) -> None:
    subs = [make.a_drawing(id="sub", name=f"sub{number}", version=number) for number in (9, 4)]
    version = make.a_graph(user, caller(("sub", 4), ("sub", 9), ("sub", 5), sub_graphs=subs))
    graph = Graph.objects.get(versions__name="sub9")
    assert {row.name: row.version for row in graph.versions.all()} == {"sub4": 1, "sub9": 2}
    assert (graph.active_version, graph.latest_version) == (2, 2)
    # A version that the file does not have becomes the newest that it has.
    assert calls_of(version) == [(str(graph.pk), 1), (str(graph.pk), 2), (str(graph.pk), 2)]


def test_a_graph_may_call_itself(user: User) -> None:
    version = make.a_graph(user, caller(("me", 1), id="me"))
    assert calls_of(version) == [(str(version.graph_id), 1)]
    assert services.called_by([version]) == {version.pk: []}


def test_calls_are_followed_level_by_level_whatever_their_number(user: User) -> None:
    leaf = make.a_graph(user, make.a_drawing(name="leaf"))
    middles = [make.a_graph(user, caller((str(leaf.graph_id), 1), name=f"middle{n}")) for n in range(3)]
    top = make.a_graph(user, caller(*((str(row.graph_id), 1) for row in middles)))
    with CaptureQueriesContext(connection) as queries:
        called = services.called_by([top])
    assert [row.name for row in called[top.pk]] == ["middle0", "middle1", "middle2", "leaf"]
    assert len(queries) == 2 * 3


def test_another_owners_graphs_are_not_followed(user: User) -> None:
    foreign = make.a_graph(make.a_user())
    version = make.a_graph(user, caller((str(foreign.graph_id), 1)))
    assert services.called_by([version]) == {version.pk: []}


def test_an_exported_graph_with_sub_graphs_can_be_imported_again(user: User) -> None:
    original = make.a_graph(user, caller(("sub", 1), sub_graphs=[make.a_drawing(id="sub", name="sub")]))
    exported = services.export_graph(original)
    somebody = make.a_user()
    imported = services.create_graph(somebody, GraphDraft.model_validate(exported))
    (sub,) = services.called_by([imported])[imported.pk]
    assert (sub.name, sub.graph.owner) == ("sub", somebody)
    assert str(user.pk) not in str(exported)


def test_saving_back_what_was_read_calls_the_same_sub_graphs(user: User) -> None:
    original = make.a_graph(user, caller(("sub", 1), sub_graphs=[make.a_drawing(id="sub")]))
    read = services.export_graph(original)
    saved = services.save_version(user, original.graph_id, GraphDraft.model_validate(read))
    assert calls_of(saved) == calls_of(original)
    assert Graph.objects.count() == 2


def test_saving_creates_the_sub_graphs_that_are_new(user: User) -> None:
    original = make.a_graph(user)
    drawing = caller(("new", 3), sub_graphs=[make.a_drawing(id="new", name="new", version=3)])
    saved = services.save_version(user, original.graph_id, GraphDraft.model_validate(drawing))
    assert calls_of(saved) == [(str(GraphVersion.objects.get(name="new").graph_id), 1)]


def test_a_flaw_leaves_nothing_half_written(user: User) -> None:
    version = make.a_graph(user)
    before = [model.objects.count() for model in (Graph, GraphVersion, Node, Link)]
    bad = make.a_drawing({"in": ("AgentInput", {})}, sub_graphs=[make.a_drawing(id="sub")])
    with pytest.raises(GraphInvalid):
        make.a_graph(user, bad)
    with pytest.raises(GraphInvalid):
        services.save_version(user, version.graph_id, GraphDraft.model_validate(bad))
    assert [model.objects.count() for model in (Graph, GraphVersion, Node, Link)] == before
    assert Graph.objects.get().latest_version == 1


def test_a_graph_made_from_what_was_exported_may_name_its_origin_and_has_no_secrets(user: User) -> None:
    original = make.a_graph(user, make.a_drawing({"in": ("AgentInput", {"name": "key", "value": "x", "secret": True})}))
    origin = {"forked_from_id": str(original.graph_id), "forked_from_version": 1}
    somebody = make.a_user()
    copy = make.a_graph(somebody, {**services.export_graph(original), **origin})
    assert (copy.version, copy.graph.owner) == (1, somebody)
    assert (copy.graph.forked_from_id, copy.graph.forked_from_version) == (original.graph_id, 1)
    assert "value" not in copy.nodes.all()[0].input_default


@pytest.mark.django_db(transaction=True)
def test_versions_saved_at_the_same_time_get_numbers_of_their_own() -> None:
    user = make.a_user()
    graph_id = make.a_graph(user).graph_id
    start = threading.Barrier(4)

    def save() -> None:
        start.wait()
        services.save_version(user, graph_id, draft())
        connections.close_all()

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(GraphVersion.objects.values_list("version", flat=True)) == [1, 2, 3, 4, 5]
    graph = Graph.objects.get()
    assert (graph.latest_version, graph.active_version) == (5, 5)
