import asyncio
import time
from typing import Any

import pytest

from graphs.blocks import patterns
from graphs.blocks.base import BlockError
from tests.graphs.running import values

LONG = "x" * 3_000
EVIL = [
    (r"(a+)+$", "a" * 40 + "!"),
    (r"([a-zA-Z]+)*$", "a" * 40 + "!"),
    (r"(a|aa)+$", "a" * 60 + "!"),
    (r"(a|a?)+$", "a" * 40 + "!"),
    (r"(.*a){25}$", "a" * 40 + "!"),
    (r"^(\w+\s?)*$", "word " * 20 + "!"),
    (r"(?:a?){40}a{40}$", "a" * 39 + "!"),
    (r"(x+x+)+y", "x" * 40),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 40),
    (r"^(?=(a+))+(?:a|a)*$", "a" * 40 + "!"),
    (r"(a|a){2,}$", "a" * 40 + "!"),
    ("a?" * 40 + "a" * 40, "a" * 39),
]


@pytest.mark.parametrize(
    ("data", "emitted"),
    [
        ({"text": "Text", "match": "text", "data": 1}, ("negative", 1)),
        ({"text": "Text", "match": "text", "data": 1, "case_sensitive": False}, ("positive", 1)),
        ({"text": "a\nb", "match": "a.b", "data": 0}, ("positive", "a\nb")),
        ({"text": "a\nb", "match": "a.b", "data": "x", "dot_all": False}, ("negative", "x")),
        ({"text": {"n": 1}, "match": '"n":1', "data": ""}, ("positive", {"n": 1})),
        ({"text": LONG + "end", "match": "x+e(n|m)d", "data": 1}, ("positive", 1)),
        ({"text": LONG, "match": "x+e(n|m)d", "data": 1}, ("negative", 1)),
    ],
)
async def test_data_goes_the_way_of_the_match(data: dict[str, Any], emitted: Any):
    assert await values("MatchTextPatternBlock", data) == [emitted]


@pytest.mark.parametrize("filler", ["", LONG], ids=["in_place", "in_a_process"])
async def test_matches_are_taken_out(filler: str):
    text = f"{filler} ann@example.com bob@example.com é@example.com"
    data = {"text": text, "pattern": r"(\w+)@(\w+)\.com", "group": 1, "find_all": True}
    found = ["ann", "bob", "é"]

    assert await values("ExtractTextInformationBlock", data) == [
        *(("positive", match) for match in found),
        ("matched_results", found),
        ("matched_count", 3),
    ]
    first = await values("ExtractTextInformationBlock", {**data, "find_all": False, "group": 0})
    assert first == [("positive", "ann@example.com"), ("matched_results", ["ann@example.com"]), ("matched_count", 1)]


async def test_a_match_in_which_the_group_has_no_part_is_left_out():
    data = {"text": "ab", "pattern": "(a)|b", "group": 1, "find_all": True}

    assert await values("ExtractTextInformationBlock", data) == [
        ("positive", "a"),
        ("matched_results", ["a"]),
        ("matched_count", 1),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"text": "a", "pattern": "("}, "the pattern is malformed: missing ), unterminated subpattern at position 0"),
        (
            {"text": LONG, "pattern": "(x+"},
            "the pattern is malformed: missing ), unterminated subpattern at position 0",
        ),
        ({"text": "a", "pattern": "a", "group": 1}, "the pattern has 0 groups, so there is no group 1"),
        ({"text": "a", "pattern": "(a)", "group": -1}, "the pattern has 1 groups, so there is no group -1"),
        ({"text": "a", "pattern": "(" * 5000 + ")" * 5000}, "the pattern is malformed: "),
        ({"text": "a" * 1_000_001, "pattern": "a"}, "at most 1000000 characters of text and 10000 of pattern can be"),
        ({"text": "a", "pattern": "a" * 10_001}, "at most 1000000 characters of text and 10000 of pattern can be"),
        ({"text": "a" * 10_002, "pattern": "a", "find_all": True}, "there are more than 10000 matches, or 1000000"),
    ],
)
async def test_a_search_that_cannot_be_done_says_why(data: dict[str, Any], message: str):
    with pytest.raises(BlockError) as refusal:
        await values("ExtractTextInformationBlock", data)
    assert message in str(refusal.value)


@pytest.mark.parametrize(("pattern", "text"), EVIL)
async def test_an_evil_pattern_is_ended_and_holds_nobody_up(pattern: str, text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.5)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    watcher = asyncio.create_task(watch())
    try:
        await values("MatchTextPatternBlock", {"text": text, "match": pattern, "data": 1})
    except BlockError as refusal:
        ended = str(refusal)
    else:
        ended = "found out in time"
    watcher.cancel()

    assert ended in ("the search took more than 0.5 seconds", "found out in time")
    assert longest < 0.4


async def test_a_short_text_with_one_repetition_is_searched_in_no_time():
    started = time.monotonic()
    for pattern in ("x*y", "x+y", "x{1,}y", ".*y", "[^y]*yz"):
        await values("MatchTextPatternBlock", {"text": "x" * 2_000, "match": pattern, "data": 1})
    assert time.monotonic() - started < 1
