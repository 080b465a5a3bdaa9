"""JSON from outside, read without mercy; pure, no database."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import strict_json
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


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": 1, "\\u0061": 2}',
        b'[{"x": {"b": [], "c": 1, "b": []}}]',
        b'{"a"  : 1, "a"\n: 1}',
        b'{"": 1, "": 2}',
        b'{"n": 123456789012345678901234567890, "n": 1}',
    ],
)
def test_a_key_that_comes_twice_in_an_object_is_named(text: bytes) -> None:
    with pytest.raises(MalformedJSON, match=r"An object has the key '.*' twice"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [b'{"a": {"a": 1}, "b": {"a": 1}}', b'{"a": "\\": b\\" : c"}', b'{"a\\":": 1, "b": "\\\\"}', b'["a:", ":"]'],
)
def test_what_only_looks_like_a_key_that_comes_twice_is_read(text: bytes) -> None:
    assert parse(text) == json.loads(text)


@pytest.mark.parametrize("item", [b"0", b"{}", b"[]", b'""', b'{"a":[]}'])
def test_the_number_of_values_is_limited_before_they_are_built(item: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "MOST_VALUES", 1000)

    assert len(parse(b"[" + b",".join([item] * 300) + b"]")) == 300
    monkeypatch.setattr(strict_json, "_load", None)
    with pytest.raises(MalformedJSON, match="more than 1,000 values"):
        parse(b"[" + b",".join([item] * 1001) + b"]")


def test_commas_and_brackets_in_a_text_are_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "MOST_VALUES", 1000)

    assert parse(json.dumps(['a,[{\\",' * 2000]).encode()) == ['a,[{\\",' * 2000]


HOSTILE = {
    "deep arrays": b"[" * 500_000 + b"]" * 500_000,
    "deep objects": b'{"a":' * 200_000,
    "many objects": b"[" + b"{}," * 330_000 + b"{}]",
    "many numbers": b"[" + b"0," * 500_000 + b"0]",
    "quotes that never end": b'"' + b'\\"' * 500_000,
    "quotes and commas": b'"' + b'\\",[{' * 200_000,
    "spaces after a quote": b'["' + b'",   "' * 160_000,
    "one long integer": b"1" * 1_000_000,
    "one long fraction": b"0." + b"1" * 1_000_000,
    "a large exponent": b"1e999999999",
    "the same key": b"{" + b'"a":1,' * 90_000 + b'"a":1}',
    "keys that look twice": b'{"a":"' + b'\\":' * 300_000 + b'"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_megabyte_keeps_the_parser_busy(name: str) -> None:
    began = time.process_time()
    with contextlib.suppress(MalformedJSON):
        parse(HOSTILE[name])
    assert time.process_time() - began < 1
