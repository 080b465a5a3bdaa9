"""Values cut short."""

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from executions.previews import (
    EDGE,
    FETCHED_LENGTH,
    OBJECT_LENGTH,
    VALUE_LENGTH,
    cut_in_sql,
    cut_object_in_sql,
    length_of,
    preview,
    preview_entries,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=30), inner, max_size=20),
    max_leaves=120,
)


@given(JSON)
def test_what_is_short_stays_as_it_is(value: Any) -> None:
    if length_of(value) <= 500:
        assert preview(value, 500) is value


@given(JSON, st.integers(20, 400))
def test_what_is_long_becomes_a_shorter_value_of_the_same_kind(value: Any, length: int) -> None:
    shown = preview(value, length)
    assert type(shown) is type(value)
    # A marker for each level of nesting comes on top.
    assert length_of(shown) <= max(length_of(value), 8 * length + 400)


def test_a_text_keeps_both_ends() -> None:
    assert preview("a" * 50 + "b" * 50, 20) == f"{'a' * 10} … 80 characters left out … {'b' * 10}"


def test_a_list_keeps_both_ends() -> None:
    shown = preview(list(range(1000)), 60)
    assert shown[:3] == [0, 1, 2]
    assert shown[-1] == 999
    (marker,) = [item for item in shown if isinstance(item, str)]
    assert marker == f"… {1000 - len(shown) + 1} items left out …"


def test_an_object_keeps_its_first_entries() -> None:
    shown = preview({f"key{number}": number for number in range(1000)}, 60)
    assert list(shown)[:2] == ["key0", "key1"]
    assert shown["…"] == f"{1000 - len(shown) + 1} entries left out"


def test_each_entry_of_an_object_and_the_whole_are_cut() -> None:
    shown = preview_entries({"long": "x" * 100_000, "short": 1})
    assert shown["short"] == 1
    assert len(shown["long"]) < VALUE_LENGTH + 100
    many = preview_entries({f"key{number}": "x" * 1000 for number in range(100)})
    assert length_of(many) < OBJECT_LENGTH + 2000


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [
        "short",
        "ü" * FETCHED_LENGTH,
        'quotes " and \\ backslashes' * 4000,
        ["item"] * FETCHED_LENGTH,
        {"a": {"b": "c" * FETCHED_LENGTH}, "n": None, "t": True},
        12345678901234567890123,
    ],
)
def test_postgres_cuts_what_is_too_long_to_be_fetched(value: Any) -> None:
    (cut,) = _select(cut_in_sql("given.value"), value)
    whole = json.dumps(value)
    if len(whole.encode()) <= FETCHED_LENGTH:
        assert json.loads(cut) == value
    else:
        shown = json.loads(cut)
        assert isinstance(shown, str)
        assert " characters left out " in shown
        assert len(shown) < 2 * EDGE + 60
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        assert shown[:20] == plain[:20]
        assert shown[-20:] == plain[-20:]


@pytest.mark.django_db
def test_postgres_cuts_an_object_entry_by_entry() -> None:
    value = {"long": "x" * FETCHED_LENGTH, "list": [1, 2], "null": None}
    (cut,) = _select(cut_object_in_sql("given.value"), value)
    shown = json.loads(cut)
    assert {**shown, "long": ""} == {**value, "long": ""}
    assert len(shown["long"]) < 2 * EDGE + 60
    assert json.loads(_select(cut_object_in_sql("given.value"), {})[0]) == {}


def _select(expression: str, value: Any) -> tuple[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {expression} FROM (SELECT %s::jsonb AS value) AS given",  # noqa: S608
            [json.dumps(value, ensure_ascii=False)],
        )
        row: tuple[str] = cursor.fetchone()
    return row
