"""Presets in the admin site."""

import pytest
from django.test import Client

from accounts.models import Role
from library.models import Preset
from tests import make


@pytest.fixture
def preset(db: None) -> Preset:
    owner = make.a_user("ann@example.com")
    graph_id = make.a_graph(owner).graph_id
    make.a_preset(owner, graph_id, name="another")
    return make.a_preset(owner, make.a_graph(owner).graph_id, name="Each Monday", inputs={"who": "top secret"})


@pytest.fixture
def operator(db: None, client: Client) -> Client:
    client.force_login(make.a_user(role=Role.ADMIN))
    return client


@pytest.mark.parametrize("by", ["monday", "{0.pk}", "{0.graph_id}"])
def test_an_operator_finds_a_preset(operator: Client, preset: Preset, by: str) -> None:
    page = operator.get("/admin/library/preset/", {"q": by.format(preset)}).content.decode()

    assert "Each Monday" in page
    assert "another" not in page


def test_an_operator_sees_which_inputs_have_values_but_not_the_values(operator: Client, preset: Preset) -> None:
    page = operator.get(f"/admin/library/preset/{preset.pk}/change/").content.decode()

    assert "who" in page
    assert "top secret" not in page


def test_an_operator_changes_nothing_and_nobody_else_sees_anything(operator: Client, preset: Preset) -> None:
    address = f"/admin/library/preset/{preset.pk}"
    posted = operator.post(f"{address}/change/", {"name": "x"}), operator.post(f"{address}/delete/", {"post": "yes"})
    operator.force_login(make.a_user())

    assert [answer.status_code for answer in posted] == [403, 403]
    assert operator.get("/admin/library/preset/").status_code == 302
    assert Preset.objects.get(pk=preset.pk).name == "Each Monday"
