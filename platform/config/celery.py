"""The Celery application: run a worker with `celery -A config worker`."""

import os
from typing import Any

from celery import Celery, signals

from core import request_ids

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("taskloom")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_ready.connect
def _hear_soon_that_it_ends(sender: Any, **_: Any) -> None:
    # On RabbitMQ nothing else is due for 10 s at a time, and only between two timers the loop sees that it shall end.
    if sender.hub is not None:
        sender.hub.call_repeatedly(1.0, bool)


@signals.task_prerun.connect
def _go_on_under_the_requests_id(task: Any = None, **_: Any) -> None:
    request_ids.resume(getattr(task.request, request_ids.TASK_HEADER, None) or "")


@signals.task_postrun.connect
def _leave_the_request(**_: Any) -> None:
    request_ids.resume("")
