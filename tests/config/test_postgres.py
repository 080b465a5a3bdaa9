"""Connections that Postgres ended while nobody used them, as after a restart."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from tests.waiting import wait_until

KEPT = 6


def backends(count: int) -> list[int]:
    """Use so many connections at once; returns their processes in Postgres."""
    all_have_one = Barrier(count)
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: backend(all_have_one), range(count)))


def backend(all_have_one: Barrier) -> int:
    """Use a connection until everybody has one, and give it back."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            all_have_one.wait(20)
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def ended(transactional_db: None) -> list[int]:
    """A pool full of connections that Postgres has ended, as their processes."""
    pids = backends(KEPT)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid WHERE pid <> pg_backend_pid()", [pids])
        cursor.execute("SELECT pg_backend_pid()")
        (own,) = cursor.fetchone()
        wait_until(lambda: alive(pids) <= {own})
    connection.close()
    return [pid for pid in pids if pid != own]


def alive(pids: list[int]) -> set[int]:
    """Those of the processes that Postgres still has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", [pids])
        return {pid for (pid,) in cursor.fetchall()}


def test_no_connection_is_used_that_postgres_has_ended(ended: list[int]) -> None:
    assert len(set(ended)) >= KEPT - 1
    assert set(backends(KEPT)) & set(ended) == set()


def test_whoever_comes_next_does_not_wait_for_every_connection_that_was_ended(ended: list[int]) -> None:
    began = time.monotonic()
    assert backend(Barrier(1)) not in ended
    assert time.monotonic() - began < 1.0
