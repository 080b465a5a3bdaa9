"""Statements that are run so often that Postgres should know them."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import psycopg
from django.db import connection

_PARAMETER = re.compile(r"%\((\w+)\)s")


@lru_cache(maxsize=100)
def numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """A statement as Postgres itself takes it, `$1` for `%(name)s`, and the names in that order.

    For psycopg's raw cursors, which need not look through the text each time.
    """
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement), names


def fetch_prepared(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement on Django's connection, in its transaction, and return all rows; Postgres plans it only once.

    Django's own cursors write the parameters into the text, so that Postgres parses and plans each call anew. Keep the
    text below 4,096 characters: psycopg parses longer ones each time. Raises Django's database errors.
    """
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": ""})
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        return cursor.execute(statement, parameters, prepare=True).fetchall()
