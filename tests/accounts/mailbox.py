"""The worker that writes mails, and the mails."""

import base64
import json
import re
from typing import Any
from urllib.parse import unquote

import redis
from celery import current_app
from django.conf import settings
from django.core import mail


def waiting() -> list[dict[str, Any]]:
    """What the queue has for a worker, oldest first; it is empty then."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    found = []
    while (raw := client.rpop("default")) is not None:
        message = json.loads(bytes(raw))  # type: ignore[arg-type]
        arguments = json.loads(base64.b64decode(message["body"]))[1]
        found.append({"task": message["headers"]["task"], **arguments})
    return found


def delivered() -> list[mail.EmailMessage]:
    """The mails that a worker writes now."""
    current_app.loader.import_default_modules()
    mail.outbox.clear()
    for task in waiting():
        current_app.tasks[task.pop("task")](**task)
    return list(mail.outbox)


def token_in(message: mail.EmailMessage) -> str:
    """The token of the link."""
    found = re.search(r"\?token=(\S+)", str(message.body))
    assert found, message.body
    return unquote(found[1])
