"""What people may draw with depends on what can work here."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from builder import menu
from graphs.api import views, views_external
from tests.drawing import block_id

TRIGGER = block_id("GenericWebhookTrigger")


@pytest.fixture
def _without_address(settings: LazySettings) -> Iterator[None]:
    caches = (views._catalogue, views_external._catalogue, menu.entries)
    settings.PLATFORM_BASE_URL = ""
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def shown(api: APIClient) -> list[bool]:
    catalogue = {block["id"] for block in api.get("/api/blocks").json()}
    found = {block["id"] for block in api.get("/api/builder/blocks?page_size=100").json()["blocks"]}
    return [TRIGGER in catalogue, TRIGGER in found]


@pytest.mark.usefixtures("_without_address")
def test_without_a_public_address_nobody_is_offered_a_trigger(api: APIClient) -> None:
    assert shown(api) == [False, False]
    answer = api.post(f"/api/blocks/{TRIGGER}/execute", {"payload": {}}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "block_disabled")


def test_with_a_public_address_triggers_are_offered(api: APIClient) -> None:
    assert shown(api) == [True, True]
