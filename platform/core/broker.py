"""Handing tasks to the broker, and hints to the channel layer.

On Redis the messages that Celery's workers and the channel layer expect are written straight to where they look, and
together in one round trip: kombu's producer takes six times as long for the same bytes. Any other broker is served by
kombu.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import orjson
import redis
from celery import current_app
from channels.layers import get_channel_layer
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import request_ids
from core.errors import Unavailable

# A request must not wait for a broker that is away.
_TIMEOUT_SECONDS = 1.0
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class BrokerUnavailable(Unavailable):
    """The broker does not take tasks at the moment."""


@dataclass(frozen=True, slots=True)
class Task:
    """A Celery task by name, on its way to a queue."""

    name: str
    queue: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hint:
    """A message to a group of the channel layer; `message["type"]` names the consumers' method."""

    group: str
    message: Mapping[str, Any]


def publish(tasks: Iterable[Task], hints: Iterable[Hint] = ()) -> None:
    """Send tasks and hints; raises `BrokerUnavailable` within about a second when that cannot be done."""
    names: set[str] = set()
    commands: dict[redis.Redis, list[tuple[str | bytes, ...]]] = {}
    broker = _redis_of(settings.CELERY_BROKER_URL)
    try:
        for task in tasks:
            names.add(task.name)
            if broker is None:
                current_app.send_task(
                    task.name,
                    kwargs=dict(task.arguments),
                    queue=task.queue,
                    ignore_result=True,
                    headers=request_ids.task_headers(),
                )
            else:
                commands.setdefault(broker, []).append(("LPUSH", task.queue, message(task)))
        for hint in hints:
            names.add("hints")
            client, channel, text = _addressed(hint)
            commands.setdefault(client, []).append(("PUBLISH", channel, text))
        for client, lines in commands.items():
            _write(client, lines)
    except (redis.RedisError, OperationalError, OSError) as error:
        raise BrokerUnavailable(f"The broker did not take {', '.join(sorted(names))}: {error}") from error


def message(task: Task) -> bytes:
    """A task as Celery writes it (its message protocol 2) in kombu's envelope for Redis."""
    task_id = str(uuid4())
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps([[], task.arguments, _EMBED])).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task.name,
                "id": task_id,
                "root_id": task_id,
                "parent_id": None,
                "group": None,
                "retries": 0,
                "eta": None,
                "expires": None,
                "timelimit": [None, None],
                "ignore_result": True,
                **request_ids.task_headers(),
            },
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": task.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": task_id,
            },
        }
    )


def _write(client: "redis.Redis", lines: Iterable[tuple[str | bytes, ...]]) -> None:
    pipeline: Any = client.pipeline(transaction=False)
    for line in lines:
        pipeline.execute_command(*line)
    pipeline.execute()


def _addressed(hint: Hint) -> tuple["redis.Redis", str, bytes]:
    """Where the channel layer's receivers listen for a group, and the bytes that they expect."""
    layers: Any = settings.CHANNEL_LAYERS
    config = layers["default"]["CONFIG"]
    client = _redis_of_layer(config["hosts"][0]["address"], settings.CELERY_BROKER_URL)
    layer: Any = get_channel_layer()
    return client, f"{config['prefix']}__group__{hint.group}", layer.serialize(dict(hint.message))


@cache
def _redis_of(broker_url: str) -> "redis.Redis | None":
    """A client of the broker, or None when it is no single Redis."""
    parts = urlsplit(broker_url)
    if parts.scheme == "redis+socket":
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
        return client_of(f"unix://{parts.path}?db={database}")
    if parts.scheme in ("redis", "rediss"):
        return client_of(broker_url)
    return None


@cache
def _redis_of_layer(address: str, broker_url: str) -> "redis.Redis":
    """A client of the channel layer: the broker's where both are one server, for publishing knows no databases."""
    own, broker = client_of(address), _redis_of(broker_url)
    return broker if broker is not None and _server(broker) == _server(own) else own


def client_of(url: str) -> "redis.Redis":
    """A client for commands that answer at once: after a second it takes the server for gone."""
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        # Once more, for a connection that the server has closed meanwhile.
        retry=Retry(NoBackoff(), 1),
    )


def _server(client: "redis.Redis") -> tuple[Any, ...]:
    pool = client.connection_pool
    names = ("path", "host", "port", "username", "password")
    return pool.connection_class, *(pool.connection_kwargs.get(name) for name in names)
