"""The database backend that `DATABASES` names."""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, but a pooled connection is looked at before it is used.

    psycopg's pool would ask Postgres each time, and wait a second, two, four for every connection that was ended.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> "Connection[Any]":
        """A connection that works, as far as this side can know."""
        connection: Connection[Any] = super().get_new_connection(conn_params)
        if self.pool and _was_ended(connection):
            connection.close()
            self.pool.putconn(connection)
            # Postgres was restarted, so the others are gone too.
            self.pool.check()
            connection = super().get_new_connection(conn_params)
        return connection


def _was_ended(connection: "Connection[Any]") -> bool:
    """Nobody asked Postgres anything yet: if it says something all the same, it is most likely farewell."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        ConnectionPool.check_connection(connection)
    except OperationalError:
        return True
    return False
