"""Connections that Postgres ended while nobody used them, as after a restart."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

KEPT = 4


def backends(count: int) -> list[int]:
    """Use so many connections at once; returns their processes in Postgres."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: backend(), range(count)))


def backend(seconds: float = 0.2) -> int:
    """Use a connection for a while and give it back."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), pg_sleep(%s)", [seconds])
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_the_pool_gives_no_connection_away_that_postgres_has_ended() -> None:
    ended = backends(KEPT)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid WHERE pid <> pg_backend_pid()", [ended])
    connection.close()

    assert len(set(ended)) == KEPT
    assert len(set(backends(KEPT))) == KEPT
