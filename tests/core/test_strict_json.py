"""JSON from outside, read without mercy; pure, no database."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.strict_json import MAX_DEPTH, MalformedJSON, parse

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inside: st.lists(inside) | st.dictionaries(texts, inside),
    max_leaves=20,
)


@given(values)
def test_what_is_json_comes_back_as_it_went(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        parse(text)
    except MalformedJSON as error:
        assert error.message  # noqa: PT017  both outcomes are fine


def test_wide_integers_keep_every_digit() -> None:
    assert parse(b'{"n": 123456789012345678901234567890}') == {"n": 123456789012345678901234567890}


def test_a_syntax_error_is_told_with_line_and_column() -> None:
    with pytest.raises(MalformedJSON, match="line 2 column 5") as refusal:
        parse(b'{\n"a":}')
    assert refusal.value.problems[0]["loc"] == ["body", 6]


def test_a_nul_character_is_told_with_its_place() -> None:
    with pytest.raises(MalformedJSON, match="NUL") as refusal:
        parse(b'{"a": [1, {"b": "x\\u0000"}]}')
    assert refusal.value.problems[0]["loc"] == ["body", "a", 1, "b"]
    assert parse(b'"\\\\u0000"') == "\\u0000"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_limited_exactly(opening: str) -> None:
    closing = "]" if opening == "[" else "}"

    def nested(depth: int) -> bytes:
        return (opening * depth + "1" + closing * depth).encode()

    parse(nested(MAX_DEPTH))
    with pytest.raises(MalformedJSON, match="deeper than 64"):
        parse(nested(MAX_DEPTH + 1))
