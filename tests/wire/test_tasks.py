"""The names of tasks are how processes of different versions speak to each other."""

from accounts.queue import MAIL
from config.celery import app
from executions import queue


def test_every_task_that_is_sent_is_answered() -> None:
    app.loader.import_default_modules()
    assert queue.RING == "executions.ring"
    assert queue.RUN_NODE == "executions.run_node"
    assert MAIL == "accounts.mail"
    assert {MAIL, queue.RING, queue.RUN_NODE} <= set(app.tasks)
