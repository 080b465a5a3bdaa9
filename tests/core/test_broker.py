"""Tasks on their way to the broker, and hints on theirs to the channel layer."""

import asyncio
import base64
import json
from contextvars import copy_context
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from celery import current_app
from celery.worker.request import Request
from channels.layers import get_channel_layer
from pytest_django import Settings

from core import request_ids
from core.broker import BrokerUnavailable, Hint, Task, message, publish

ARGUMENTS = {"run_ids": ["one", "two"]}
TASK = Task("probe.task", "probe", ARGUMENTS)


@pytest.fixture
def broker(settings: Settings) -> redis.Redis:
    """The tests' broker itself."""
    return redis.Redis.from_url(settings.REDIS_URL)


def taken_apart(raw: Any) -> tuple[dict[str, Any], Any]:
    """A message's envelope, and its body decoded."""
    envelope = json.loads(raw)
    return envelope, json.loads(base64.b64decode(envelope["body"]))


def test_a_message_is_what_kombu_would_have_written(broker: redis.Redis):
    current_app.send_task("probe.task", kwargs=ARGUMENTS, queue="probe", ignore_result=True)
    theirs, their_body = taken_apart(broker.lpop("probe"))
    ours, our_body = taken_apart(message(TASK))
    assert our_body == their_body
    assert ours.keys() == theirs.keys()
    assert (ours["content-type"], ours["content-encoding"]) == (theirs["content-type"], theirs["content-encoding"])
    of_one_message = {"id": ours["headers"]["id"], "root_id": ours["headers"]["id"]}
    assert ours["headers"] == {name: theirs["headers"][name] for name in ours["headers"]} | of_one_message
    assert ours["properties"].keys() == theirs["properties"].keys() | {"reply_to"}
    assert ours["properties"]["delivery_info"] == theirs["properties"]["delivery_info"]


def test_a_task_lands_on_its_queue(broker: redis.Redis):
    publish([TASK])
    envelope, body = taken_apart(broker.lpop("probe"))
    assert envelope["headers"]["task"] == "probe.task"
    assert body[:2] == [[], ARGUMENTS]


@pytest.mark.parametrize("url", ["redis+socket:///nowhere/valkey.sock?virtual_host=0", "redis://127.0.0.1:1/0"])
def test_a_broker_that_is_away_is_said_to_be(settings: Settings, url: str):
    settings.CELERY_BROKER_URL = url
    with pytest.raises(BrokerUnavailable, match=r"The broker did not take probe\.task: "):
        publish([TASK])


@pytest.mark.parametrize("broker_url", ["", "memory://"])
async def test_a_hint_reaches_the_group_whatever_the_broker_is(settings: Settings, broker_url: str):
    settings.CELERY_BROKER_URL = broker_url or settings.CELERY_BROKER_URL
    layer: Any = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("probe.group", channel)
    hint = Hint("probe.group", {"type": "probe", "numbers": [1, 2]})
    await sync_to_async(publish)([], [hint])
    async with asyncio.timeout(5):
        assert await layer.receive(channel) == hint.message


def test_tasks_and_hints_leave_in_one_round_trip(broker: redis.Redis):
    publish([TASK], [Hint("probe.group", {"type": "probe"})])
    commands = broker.info("stats")["total_commands_processed"], broker.info("stats")["total_reads_processed"]
    publish([TASK, TASK], [Hint("probe.group", {"type": "probe"})] * 3)
    after = broker.info("stats")["total_commands_processed"], broker.info("stats")["total_reads_processed"]
    # The two questions in between are a command and a read each.
    assert (after[0] - commands[0], after[1] - commands[1]) == (5 + 2, 1 + 2)
    assert broker.llen("probe") == 3
    broker.delete("probe")


def test_a_task_runs_under_the_id_of_the_request_that_caused_it_and_the_next_does_not(broker: redis.Redis):
    seen: list[str] = []
    app: Any = current_app

    def probe(run_ids: list[str]) -> None:
        seen.append(request_ids.current())

    app.task(name="probe.task")(probe)

    def request() -> None:
        request_ids.begin("the-request")
        publish([TASK])

    try:
        copy_context().run(request)
        publish([TASK])
        with app.connection_for_read() as connection, connection.SimpleQueue("probe") as queue:
            for _ in range(2):
                Request(queue.get(timeout=2), app=app).execute()
    finally:
        app.tasks.unregister("probe.task")
        broker.delete("probe")

    assert seen == ["the-request", ""]
    assert request_ids.current() == ""
