import datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field

from graphs.blocks.base import (
    BadInput,
    BadOutput,
    Block,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Emissions,
    Example,
    Kind,
)
from graphs.blocks.inputs import check_output, prepare


class Row(BaseModel):
    n: int


class Typed(Block):
    id = "01980000-0000-7000-8000-00000000cafe"
    description = "Has a pin of each type."
    categories = frozenset({Category.BASIC})
    effect = Effect.PURE
    examples = (Example({}, ()),)

    class Input(BlockInput):
        whole: int = 0
        number: float = 0.0
        flag: bool = False
        text: str = ""
        texts: list[str] = []
        anything: Any = None
        items: list[Any] = []
        table: dict[str, Any] = {}
        numbers: dict[str, float] = {}
        key: str | int = ""
        maybe: int | None = None
        maybe_texts: list[str] | None = None
        small: int = Field(0, ge=0, le=9)
        row: Row = Row(n=0)

    class Output(BlockOutput):
        whole: int
        number: float
        flag: bool
        text: str
        items: list[int]
        date: datetime.date
        row: Row
        anything: Any

    def run(self, input: Input, context: Context) -> Emissions:
        yield "whole", input.whole


class Asking(Typed):
    id = "01980000-0000-7000-8000-00000000caff"

    class Input(BlockInput):
        needed: str
        other: int
        spare: int = 1


BLOCK = Typed()


@pytest.mark.parametrize(
    ("pin", "given", "prepared"),
    [
        ("whole", "12", 12),
        ("whole", "12.9", 12),
        ("whole", 12.9, 12),
        ("whole", "-7", -7),
        ("whole", " 12 ", 12),
        ("whole", "123456789012345678901", 123456789012345678901),
        ("whole", [1, 2, 3], 3),
        ("whole", {"a": 1}, 1),
        ("whole", True, 1),
        ("number", "1e3", 1000.0),
        ("number", ["a", "b"], 2.0),
        ("flag", "true", True),
        ("flag", "TRUE", True),
        ("flag", "1", True),
        ("flag", "banana", False),
        ("flag", "", False),
        ("flag", 0, False),
        ("flag", [1], True),
        ("text", 7, "7"),
        ("text", 2.5, "2.5"),
        ("text", True, "true"),
        ("text", {"a": [1, None]}, '{"a":[1,null]}'),
        ("text", ["é"], '["é"]'),
        ("texts", ["a", 1, {"b": 2}], ["a", "1", '{"b":2}']),
        ("texts", "one", ["one"]),
        ("texts", '["a", 1]', ["a", "1"]),
        ("items", "[1, 2]", [1, 2]),
        ("items", "no json", ["no json"]),
        ("items", 5, [5]),
        ("items", {"a": 1}, [["a", 1]]),
        ("table", '{"a": 1}', {"a": 1}),
        ("table", "[7, 8]", {"0": 7, "1": 8}),
        ("table", ["x", "y"], {"0": "x", "1": "y"}),
        ("table", "no json", {"value": "no json"}),
        ("table", 5, {"value": 5}),
        ("numbers", {"a": "1.5"}, {"a": 1.5}),
        ("key", 3, 3),
        ("key", "3", "3"),
        ("key", ["a"], '["a"]'),
        ("maybe", None, None),
        ("maybe", "4", 4),
        ("maybe_texts", [1], ["1"]),
        ("anything", {"as": "is"}, {"as": "is"}),
        ("row", '{"n": 3}', Row(n=3)),
        ("row", {"n": 3}, Row(n=3)),
    ],
)
def test_a_value_becomes_what_its_pin_asks_for(pin: str, given: Any, prepared: Any):
    assert getattr(prepare(BLOCK, {pin: given}), pin) == prepared


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"whole": "lots"}, "Input of Typed: 'whole': a number is needed, not 'lots'"),
        ({"number": ""}, "Input of Typed: 'number': a number is needed, not ''"),
        ({"whole": "inf"}, "Input of Typed: 'whole': a number is needed, not inf"),
        ({"whole": None}, "Input of Typed: 'whole': input should be a valid integer, not None"),
        ({"small": "12"}, "Input of Typed: 'small': input should be less than or equal to 9, not 12"),
        ({"maybe": "lots"}, "Input of Typed: 'maybe': a number is needed, not 'lots'"),
        ({"numbers": {"a": "x"}}, "Input of Typed: 'numbers': a number is needed, not 'x'"),
        ({"row": {"m": 1}}, "Input of Typed: 'row': at n: field required, not {'m': 1}"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_that_names_the_pin(data: dict[str, Any], message: str):
    with pytest.raises(BadInput) as refusal:
        prepare(BLOCK, data)
    assert str(refusal.value) == message


def test_an_error_names_every_pin_that_is_wrong():
    with pytest.raises(BadInput) as refusal:
        prepare(Asking(), {"other": "many", "spare": "few"})
    clauses = set(str(refusal.value).removeprefix("Input of Asking: ").split("; "))
    assert clauses == {
        "'needed': a value is required",
        "'other': a number is needed, not 'many'",
        "'spare': a number is needed, not 'few'",
    }


def test_a_long_value_is_cut_short_in_the_error():
    with pytest.raises(BadInput) as refusal:
        prepare(BLOCK, {"whole": "x" * 10_000})
    assert len(str(refusal.value)) < 200


def test_pins_that_the_block_does_not_know_are_ignored_and_the_data_stays_as_it_was():
    data = {"whole": "3", "values_#_a": 1, "stranger": 2}

    prepared = prepare(BLOCK, data)

    assert prepared.model_dump(include={"whole"}) == {"whole": 3}
    assert not hasattr(prepared, "stranger")
    assert data == {"whole": "3", "values_#_a": 1, "stranger": 2}


@pytest.mark.parametrize(
    ("pin", "value"),
    [
        ("whole", 3),
        ("number", 3),
        ("number", 3.5),
        ("flag", False),
        ("text", ""),
        ("items", [1, 2]),
        ("items", (1, 2)),
        ("date", datetime.date(2026, 1, 2)),
        ("date", "2026-01-02"),
        ("row", Row(n=1)),
        ("row", {"n": 1}),
        ("anything", object()),
        ("error", "went wrong"),
    ],
)
def test_an_output_may_have_its_pins_type_or_the_json_of_it(pin: str, value: Any):
    check_output(BLOCK, pin, value)


@pytest.mark.parametrize(
    ("pin", "value", "message"),
    [
        ("whole", "3", "Output 'whole' of Typed: input should be a valid integer, not '3'"),
        ("whole", None, "Output 'whole' of Typed: input should be a valid integer, not None"),
        ("flag", 1, "Output 'flag' of Typed: input should be a valid boolean, not 1"),
        ("items", [1, "2"], "Output 'items' of Typed: at 1: input should be a valid integer, not '2'"),
        ("text", 1, "Output 'text' of Typed: input should be a valid string, not 1"),
        ("row", {"m": 1}, "Output 'row' of Typed: at n: field required, not {'m': 1}"),
        (
            "nowhere",
            1,
            "Typed has no output 'nowhere'; it has: error, whole, number, flag, text, items, date, row, anything",
        ),
    ],
)
def test_an_output_of_another_type_or_on_no_pin_is_an_error(pin: str, value: Any, message: str):
    with pytest.raises(BadOutput) as refusal:
        check_output(BLOCK, pin, value)
    assert str(refusal.value) == message


def test_only_standard_blocks_are_held_to_their_outputs():
    class Free(Typed):
        kind = Kind.AGENT

    check_output(Free(), "nowhere", object())
