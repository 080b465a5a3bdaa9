from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphs.blocks.base import BadPath
from graphs.pins import MISSING, base_name, is_dynamic, is_tool_pin, merge, split, tool_target

DATA = {"rows": [{"id": 7, "tags": ["x", "y"]}, {"id": 8}], "none": None, "zero": 0, "list": [[1, 2], [3]]}


class Point(BaseModel):
    x: int = 1
    secret: None = None

    def method(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("plain", "plain"),
        ("values_#_a", "values"),
        ("rows_$_0_#_id", "rows"),
        ("obj_@_attr_$_1", "obj"),
        ("a_#_b_$_c", "a"),
        ("a_$_b_#_c", "a"),
        ("values_#_", "values"),
        ("snake_case_name", "snake_case_name"),
        ("tools_^_node_~_pin", "tools_^_node_~_pin"),
        ("", ""),
    ],
)
def test_the_base_name_ends_at_the_first_separator(name, base):
    assert base_name(name) == base


@pytest.mark.parametrize(
    ("source_name", "expected"),
    [
        ("out", DATA),
        ("out_#_rows", DATA["rows"]),
        ("out_#_rows_$_0_#_id", 7),
        ("out_#_rows_$_-1_#_id", 8),
        ("out_#_rows_$_0_#_tags_$_1", "y"),
        ("out_@_rows_$_1_@_id", 8),
        ("out_#_list_$_0_$_1", 2),
        ("out_#_zero", 0),
        ("out_#_none", MISSING),
        ("out_#_absent", MISSING),
        ("out_#_rows_$_2", MISSING),
        ("out_#_rows_$_-3", MISSING),
        ("out_#_rows_$_one", MISSING),
        ("out_#_rows_$_1_0", MISSING),
        ("out_#_rows_$_٣", MISSING),
        ("out_#_rows_$_" + "9" * 5000, MISSING),
        ("out_#_rows_#_id", MISSING),
        ("out_$_0", MISSING),
        ("out_#_zero_#_deeper", MISSING),
        ("out_#_", MISSING),
        ("out_#__$_0", MISSING),
        ("out_#_rows_$_", MISSING),
        ("out_#_items", MISSING),
        ("out_@_items", MISSING),
        ("output", MISSING),
        ("ou", MISSING),
        ("other_#_rows", MISSING),
    ],
)
def test_a_link_carries_the_part_it_names_or_nothing(source_name, expected):
    assert split(DATA, "out", source_name) == expected


def test_null_travels_only_on_the_whole_pin():
    assert split(None, "out", "out") is None
    assert split({"a": None}, "out", "out_#_a") is MISSING


def test_a_part_of_an_object_is_a_declared_field_of_it():
    assert split(Point(), "out", "out_@_x") == 1
    assert split(Point(), "out", "out_@_secret") is MISSING
    assert split(Point(), "out", "out_@_method") is MISSING
    assert split(Point(), "out", "out_@___class__") is MISSING


@pytest.mark.parametrize(
    ("data", "merged"),
    [
        ({"a": 1}, {"a": 1}),
        ({"v_#_a": 1, "v_#_b": 2}, {"v": {"a": 1, "b": 2}}),
        ({"v": {"z": 0}, "v_#_a": 1}, {"v": {"z": 0, "a": 1}}),
        ({"l_$_0": "x", "l_$_2": "z"}, {"l": ["x", None, "z"]}),
        ({"l_$_2": "z", "l_$_0": "x"}, {"l": ["x", None, "z"]}),
        ({"l": ["a", "b"], "l_$_1": "c"}, {"l": ["a", "c"]}),
        ({"o_@_a": 1, "o_@_b": 2}, {"o": {"a": 1, "b": 2}}),
        ({"r_$_0_#_id": 7, "r_$_0_#_n": "x", "r_$_1_#_id": 8}, {"r": [{"id": 7, "n": "x"}, {"id": 8}]}),
        ({"v_#_a_$_1": "x"}, {"v": {"a": [None, "x"]}}),
        ({"v": "text", "v_#_a": 1}, {"v": {"a": 1}}),
        ({"v": None, "v_$_0": 1}, {"v": [1]}),
        ({"m_#_a": 1, "m_$_0": 2}, {"m": [2]}),
        ({"m_$_0": 2, "m_#_a": 1}, {"m": {"a": 1}}),
        ({"m_#_a_$_0": 1, "m_#_a_#_b": 2}, {"m": {"a": {"b": 2}}}),
        ({"v_#_a": None}, {"v": {"a": None}}),
        ({"v_#_a": {"in": 1}, "v_#_a_#_b": 2}, {"v": {"a": {"in": 1, "b": 2}}}),
        ({"v_#_a_#_b": 2, "v_#_a": "last"}, {"v": {"a": "last"}}),
        ({"v_#_": 1, "v_#__$_0": 2, "_$_0": 3}, {}),
        ({"tools_^_n_~_p": 1}, {}),
    ],
)
def test_flattened_names_build_their_base_and_stay_beside_it(data, merged):
    assert merge(data) == {**data, **merged}


@pytest.mark.parametrize("index", ["one", "-1", "1.5", "1_0", "٣", " 1"])
def test_a_list_index_must_be_a_whole_number(index):
    with pytest.raises(BadPath) as refusal:
        merge({f"l_$_{index}": 1})
    assert str(refusal.value) == f"Pin 'l_$_{index}': the list index '{index}' must be a whole number of 0 or more"


def test_a_list_index_has_a_limit():
    assert len(merge({"l_$_10000": 1})["l"]) == 10_001
    with pytest.raises(BadPath) as refusal:
        merge({"l_$_10001": 1})
    assert str(refusal.value) == "Pin 'l_$_10001': the list index 10001 is above the limit of 10000"


def test_merging_leaves_the_given_values_as_they_were():
    inner = {"deep": [1]}
    data = {"v": {"inner": inner}, "v_#_inner_#_deep_$_0": 2, "v_#_leaf": inner, "v_#_leaf_#_more": 3}

    merged = merge(data)

    assert merged["v"] == {"inner": {"deep": [2]}, "leaf": {"deep": [1], "more": 3}}
    assert inner == {"deep": [1]}
    assert data["v"] == {"inner": {"deep": [1]}}


def test_an_output_for_a_tool_reaches_the_pin_it_addresses_and_no_other():
    pin = "tools_^_node-1_~_values_#_a"

    assert split(5, pin, "tools", ("node-1", "values_#_a")) == 5
    assert split(5, pin, "tools_^_old_name_~_values_#_a", ("node-1", "values_#_a")) == 5
    assert split(5, pin, "tools", ("node-2", "values_#_a")) is MISSING
    assert split(5, pin, "tools", ("node-1", "other")) is MISSING
    assert split(5, pin, "tools") is MISSING
    assert split(None, pin, "tools", ("node-1", "values_#_a")) is None
    assert tool_target(pin) == ("node-1", "values_#_a")
    assert [tool_target(name) for name in ("tools", "tools_^_node", "tools_^__~_pin", "tools_^_n_~_")] == [None] * 4
    assert [is_tool_pin(name) for name in ("tools", "tools_^_x_~_y", "toolset", "tools_x")] == [
        True,
        True,
        False,
        False,
    ]


TOKENS = st.text(st.characters(exclude_characters="_$#@", codec="utf-8"), min_size=1, max_size=6)
STEPS = st.one_of(st.tuples(st.just("$"), st.integers(0, 20).map(str)), st.tuples(st.sampled_from("#@"), TOKENS))
LEAVES = st.one_of(st.integers(), st.text(max_size=5), st.booleans(), st.lists(st.integers(), max_size=3))
NAMES = st.builds(
    lambda base, steps: base + "".join(f"_{kind}_{token}" for kind, token in steps),
    st.sampled_from(["a", "b"]),
    st.lists(STEPS, max_size=4),
)


@given(NAMES, LEAVES)
def test_what_is_merged_under_a_name_is_what_splitting_that_name_gives(name: str, leaf: Any):
    base = base_name(name)

    assert split(merge({name: leaf})[base], base, name) == leaf


@given(st.dictionaries(NAMES, LEAVES, max_size=6))
def test_the_last_name_wins_and_no_given_value_changes(data: dict[str, Any]):
    before = repr(data)
    merged = merge(data)

    assert repr(data) == before
    if data and is_dynamic(name := list(data)[-1]):
        assert split(merged[base_name(name)], base_name(name), name) == data[name]


ODD_NAMES = st.text("ab_$#@^~0-", max_size=30)


@given(ODD_NAMES, ODD_NAMES, LEAVES)
def test_no_name_makes_splitting_or_merging_fail_in_an_unexpected_way(pin: str, name: str, value: Any):
    split({name: value}, pin, name)
    with suppress(BadPath):
        merge({name: value})
