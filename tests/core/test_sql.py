"""Statements as Postgres takes them."""

import pytest
from django.db import DatabaseError, connection

from core.sql import fetch_prepared, numbered


def test_named_parameters_are_numbered_in_the_order_they_come() -> None:
    text, names = numbered("UPDATE t SET a = %(a)s, b = %(b)s WHERE a <> %(a)s AND c = %(c)s::int")
    assert text == "UPDATE t SET a = $1, b = $2 WHERE a <> $1 AND c = $3::int"
    assert names == ("a", "b", "c")


def test_a_statement_without_parameters_stays_as_it_is() -> None:
    assert numbered("SELECT 1 % 2") == ("SELECT 1 % 2", ())


@pytest.mark.django_db
def test_postgres_keeps_what_is_fetched_again_and_again() -> None:
    statement = "SELECT %(n)s::int + 1 AS more"
    assert [fetch_prepared(statement, {"n": n}) for n in (1, 2)] == [[(2,)], [(3,)]]
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%AS more'")
        assert cursor.fetchall() == [("SELECT $1::int + 1 AS more",)]


@pytest.mark.django_db
def test_what_postgres_refuses_is_a_database_error() -> None:
    with pytest.raises(DatabaseError):
        fetch_prepared("SELECT * FROM nowhere", {})
