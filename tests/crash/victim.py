"""A process to be ended, halted or cut off: `python -m tests.crash.victim`, with TASKLOOM_FAILPOINTS set.

It reads one line: `drive RUN` drives that run with an engine of its own until SIGTERM, `host RUN`
also runs its isolated blocks, `sweep` only looks for runs, `start GRAPH USER KEY` starts a run the way a web process
does and ends, `receive PATH TIMES` takes in as many events at a webhook.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from uuid import UUID

import django

django.setup()

from rest_framework.test import APIClient  # noqa: E402

from executions import node_tasks, queue, services  # noqa: E402  rows need Django set up
from executions.engine.engine import Engine  # noqa: E402
from executions.engine.node_host import NodeHost  # noqa: E402

log = logging.getLogger(__name__)


def drive(run_id: str = "") -> None:
    """Drive a run, or what is found; on SIGTERM let go of it at once."""
    engine = Engine()

    def stop(number: int, frame: FrameType | None) -> None:
        engine.stop(grace=0)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    engine.start()
    if run_id:
        engine.ring([UUID(run_id)])
    while True:
        signal.pause()


def host(run_id: str) -> None:
    """Drive a run, and run its isolated blocks but no others; who else does hears of them only by looking."""
    queue.ring_for_node = lambda: None
    node_tasks._CLAIM = node_tasks._CLAIM.replace("ORDER BY", f"AND t.run_id = '{run_id}' ORDER BY")
    node_host = NodeHost()
    node_host.start()
    threading.Thread(target=_ring_often, args=(node_host,), daemon=True).start()
    drive(run_id)


def _ring_often(node_host: NodeHost) -> None:
    while True:
        node_host.ring()
        time.sleep(0.05)


def start(graph_id: str, user_id: str, key: str) -> None:
    """Start a run of the first version of a graph."""
    services.start_run(UUID(graph_id), 1, user_id=UUID(user_id), inputs={}, trigger_key=key)


def receive(path: str, times: str) -> None:
    """Take in events, each with a name of its own, and say what each was answered."""
    client = APIClient(HTTP_HOST="localhost", raise_request_exception=False)
    for number in range(int(times)):
        answer = client.post(path, {"number": number}, format="json", HTTP_WEBHOOK_ID=f"msg_{number}")
        log.info("answered %d", answer.status_code)


def obey(line: str) -> None:
    """Do what the line says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    command, *arguments = line.split()
    orders: dict[str, Callable[..., None]] = {
        "drive": drive, "sweep": drive, "host": host, "start": start, "receive": receive,
    }  # fmt: skip
    orders[command](*arguments)


if __name__ == "__main__":
    obey(sys.stdin.readline())
