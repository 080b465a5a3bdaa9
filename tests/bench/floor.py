"""The floor of the design: one Celery message a run, every node a row, one commit a wave, and nothing else.

No validation, no events, no lease, no recovery: what remains is what Celery and Postgres cost by themselves.
"""

import json
import os
import tempfile
from pathlib import Path

import psycopg
import redis
from celery import Celery

from tests.bench.processes import celery_worker

DATABASE_URL = os.environ["BENCH_DATABASE_URL"]
REDIS_URL = os.environ["BENCH_REDIS_URL"]

app = Celery("floor", broker=os.environ["BENCH_BROKER_URL"], set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    task_default_queue="floor",
    broker_connection_retry_on_startup=True,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS floor_run (
    id bigserial PRIMARY KEY, status int, input jsonb, output jsonb, created timestamptz DEFAULT now(),
    ended timestamptz);
CREATE TABLE IF NOT EXISTS floor_node (
    id bigserial PRIMARY KEY, run bigint, place int, status int, input jsonb, output jsonb, ended timestamptz);
CREATE INDEX IF NOT EXISTS floor_nodes_of_a_run ON floor_node (run, place);
"""
_NODES = """
INSERT INTO floor_node (run, place, status, input, output, ended)
SELECT %s, place, 2, input, output, now() FROM unnest(%s::int[], %s::jsonb[], %s::jsonb[]) AS n(place, input, output)
"""


class Connections:
    """One process's connections, made when first used."""

    def __init__(self) -> None:
        self._database: psycopg.Connection | None = None
        self._redis: redis.Redis | None = None

    @property
    def database(self) -> psycopg.Connection:
        if self._database is None:
            self._database = psycopg.connect(DATABASE_URL, autocommit=True, prepare_threshold=1)
        return self._database

    @property
    def redis(self) -> redis.Redis:
        if self._redis is None:
            self._redis = redis.Redis.from_url(REDIS_URL, socket_timeout=60)
        return self._redis


here = Connections()


class Walk:
    """One run, walked: each wave of nodes is one statement and one commit."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._place = 0

    def wave(self, inputs: list[int], outputs: list[object]) -> None:
        """Keep the rows of nodes that ran side by side."""
        places = list(range(self._place, self._place + len(inputs)))
        values = [[json.dumps(value) for value in column] for column in (inputs, outputs)]
        here.database.execute(_NODES, (self._run, places, *values))
        self._place += len(inputs)

    def chain(self, nodes: int) -> int:
        """Walk a chain."""
        value = 1
        for _ in range(nodes):
            self.wave([value], [value + 1])
            value += 1
        return value

    def fan(self, width: int) -> int:
        """Walk a fan."""
        self.wave([1], [2])
        self.wave([2] * width, [3] * width)
        self.wave([width], [[3] * width])
        return 3 * width


@app.task(name="floor.walk")
def walk(run: int, shape: str, size: int) -> None:
    """Walk one run and say that it has ended."""
    walk = Walk(run)
    result = walk.chain(size) if shape == "chain" else walk.fan(size)
    here.database.execute(
        "UPDATE floor_run SET status = 2, output = %s, ended = now() WHERE id = %s", (json.dumps(result), run)
    )
    here.redis.lpush(f"floor:{run}", result)


def _new_run() -> int:
    row = here.database.execute("INSERT INTO floor_run (status, input) VALUES (0, '1') RETURNING id").fetchone()
    assert row is not None
    return int(row[0])


class Floor:
    """One message a run, one commit a wave, prefork 2."""

    name = "floor"
    leaves_out: frozenset[str] = frozenset()

    def start(self) -> None:
        """Start the worker."""
        here.database.execute(_SCHEMA)
        self._worker = celery_worker("tests.bench.floor", "floor", Path(tempfile.mkdtemp()) / "floor.log")
        self.chain(1)

    def stop(self) -> None:
        """Stop it."""
        self._worker.terminate()
        self._worker.wait(20)

    def chain(self, nodes: int) -> None:
        """Run one chain to its end."""
        self._wait(self._submit("chain", nodes))

    def fan(self, width: int) -> None:
        """Run one fan to its end."""
        self._wait(self._submit("fan", width))

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted before the first is waited for."""
        for run in [self._submit("chain", nodes) for _ in range(runs)]:
            self._wait(run)

    def _submit(self, shape: str, size: int) -> int:
        run = _new_run()
        walk.delay(run, shape, size)
        return run

    def _wait(self, run: int) -> None:
        if here.redis.brpop([f"floor:{run}"], 60) is None:
            raise TimeoutError(f"The floor's run {run} did not end")


class Commits:
    """Postgres alone: the same rows, each wave one commit, in this process; what durability itself costs."""

    name = "bare commits"
    leaves_out: frozenset[str] = frozenset()

    def start(self) -> None:
        """Make the tables."""
        here.database.execute(_SCHEMA)
        self.chain(1)

    def stop(self) -> None:
        """Nothing was started."""

    def chain(self, nodes: int) -> None:
        """Keep the rows of one chain."""
        Walk(_new_run()).chain(nodes)

    def fan(self, width: int) -> None:
        """Keep the rows of one fan."""
        Walk(_new_run()).fan(width)

    def burst(self, runs: int, nodes: int) -> None:
        """Keep the rows of many chains."""
        for _ in range(runs):
            self.chain(nodes)
