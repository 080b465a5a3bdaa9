"""Hints from a long-lived loop to whoever listens."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings

from core.errors import Unavailable
from core.hints import Hints, message
from core.listening import listening


async def test_news_that_wait_for_one_group_leave_together():
    layer: Any = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("hints.group", channel)
    hints = Hints(asyncio.get_running_loop())
    hints.send("hints.group", {"one": {"a": 1, "b": 1}})
    hints.send("hints.group", {"one": {"a": 2}, "two": {"c": 3}})
    async with asyncio.timeout(5):
        assert await layer.receive(channel) == message({"one": {"a": 2, "b": 1}, "two": {"c": 3}})


async def test_only_those_who_listen_to_a_topic_hear_of_it():
    layer: Any = get_channel_layer()
    heard: asyncio.Queue[tuple[str, Mapping[str, int]]] = asyncio.Queue()

    def first(things: Mapping[str, int]) -> None:
        heard.put_nowait(("first", things))

    def second(things: Mapping[str, int]) -> None:
        heard.put_nowait(("second", things))

    async with listening() as listener, listening() as same, asyncio.timeout(5):
        assert same is listener
        await listener.listen("hints.group", "one", first)
        await listener.listen("hints.group", "two", second)
        await layer.group_send("hints.group", message({"one": {"a": 1}, "other": {"b": 2}}))
        assert await heard.get() == ("first", {"a": 1})
        await listener.leave("hints.group", "one", first)
        await layer.group_send("hints.group", message({"one": {"a": 2}, "two": {"c": 3}}))
        assert await heard.get() == ("second", {"c": 3})
        await listener.leave("hints.group", "two", second)
        # Left by all and joined again.
        await listener.listen("hints.group", "one", first)
        await layer.group_send("hints.group", message({"one": {"a": 4}}))
        assert await heard.get() == ("first", {"a": 4})
        assert heard.empty()


async def test_a_message_that_bears_no_news_is_survived(caplog: pytest.LogCaptureFixture):
    layer: Any = get_channel_layer()
    heard: asyncio.Queue[Mapping[str, int]] = asyncio.Queue()
    async with listening() as listener, asyncio.timeout(5):
        await listener.listen("hints.group", "one", heard.put_nowait)
        await layer.group_send("hints.group", {"type": "of.somebody.else"})
        await layer.group_send("hints.group", message({"one": {"a": 1}}))
        assert await heard.get() == {"a": 1}
    assert [record.message for record in caplog.records] == ["A hint could not be taken"]


async def test_without_a_layer_nobody_can_listen(settings: Settings):
    layer = settings.CHANNEL_LAYERS["default"]
    nowhere = {**layer, "CONFIG": {**layer["CONFIG"], "hosts": ["unix:///nowhere/valkey.sock"]}}
    settings.CHANNEL_LAYERS = {"default": nowhere}
    with pytest.raises(Unavailable, match="The channel layer does not answer"):
        async with listening():
            pass
