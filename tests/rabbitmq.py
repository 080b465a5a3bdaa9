"""A RabbitMQ of the tests' own: on loopback, with its data in a temporary folder, for as long as a block lasts."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import amqp

from tests.waiting import wait_until

# The program itself: what is first on the PATH of Debian changes to another user.
SERVER = next(
    (
        str(program)
        for program in (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path(shutil.which("rabbitmq-server") or "/-"))
        if program.exists()
    ),
    "",
)


@contextmanager
def rabbitmq(home: Path) -> Iterator[str]:
    """A broker; gives its URL."""
    names, port, distribution = _free_port(), _free_port(), _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"taskloom{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_CONFIG_FILE": str(home / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
    }
    (home / "plugins").write_text("[].")
    # A server that finds no name service starts one, and leaves it behind.
    with _process(["epmd", "-port", str(names), "-address", "127.0.0.1"], environment, home / "epmd.log"):
        wait_until(lambda: _listens(names))
        with _process([SERVER], environment, home / "server.log"):
            wait_until(lambda: _answers(port), 60)
            yield f"amqp://guest:guest@127.0.0.1:{port}//"


@contextmanager
def channel(url: str) -> Iterator[amqp.Channel]:
    """A way to ask the broker at `url` directly."""
    host = url.removeprefix("amqp://guest:guest@").removesuffix("//")
    with amqp.Connection(host=host, connect_timeout=5) as connection:
        yield connection.channel()


def waiting_in(url: str, queue: str) -> int:
    """How many messages wait in a queue that is there."""
    with channel(url) as broker:
        declared = broker.queue_declare(queue, passive=True)
        assert declared is not None
        return int(declared[1])


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int) -> bool:
    try:
        with amqp.Connection(host=f"127.0.0.1:{port}", connect_timeout=5):
            return True
    except (OSError, amqp.AMQPError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
