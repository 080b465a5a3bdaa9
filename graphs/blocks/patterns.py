"""Blocks that search text with regular expressions.

Python's `re` may take longer than a lifetime for a pattern of ten characters, and nothing can interrupt it but the end
of its process. So a search that is not plainly harmless runs in a process of its own.
"""

import asyncio
import json
import re
import sys
from typing import Any

from core.json import encode
from graphs.blocks import pattern_search
from graphs.blocks.base import (
    AsyncEmissions,
    Block,
    BlockError,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Example,
)
from graphs.blocks.fields import pin
from graphs.blocks.pattern_search import SECONDS, PatternFailed, Request, find

TEXT = frozenset({Category.TEXT})
MAX_TEXT = 1_000_000
MAX_PATTERN = 10_000
# With one repetition, and that of a single character, the work grows with the square of the text: milliseconds here.
_HARMLESS_TEXT = 2_000
_REPETITION = re.compile(r"[*+?{]")
_REPEATED_GROUP = re.compile(r"\)[*+?{]")


class MatchTextPatternBlock(Block):
    """Sends data one way or the other."""

    id = "3060088f-6ed9-4928-9ba7-9c92823a7ccd"
    description = (
        "Emits data on positive when a regular expression of Python's is found in the text, else on negative; the text "
        "itself when data is empty. Other values than text are searched as their JSON. A search may take five seconds."
    )
    categories = TEXT
    effect = Effect.READ
    examples = (
        Example({"text": "order 66", "match": r"\d+", "data": "go"}, (("positive", "go"),)),
        Example({"text": "order", "match": r"\d+", "data": None}, (("negative", "order"),)),
    )

    class Input(BlockInput):
        """A text, a pattern and what to emit."""

        text: Any = pin("The text to search.")
        match: str = pin("The regular expression.", placeholder=r"\d+")
        data: Any = pin("What to emit.")
        case_sensitive: bool = pin("Whether capitals differ from small letters.", default=True)
        dot_all: bool = pin("Whether a dot stands for a line's end, too.", default=True)

    class Output(BlockOutput):
        """The data, on one of two pins."""

        positive: Any = pin("Emitted when it was found.")
        negative: Any = pin("Emitted when it was not.")

    async def run(self, input: Input, context: Context) -> AsyncEmissions:
        """Emit the data."""
        found = await _search(Request(input.match, _as_text(input.text), input.case_sensitive, input.dot_all))
        yield "positive" if found else "negative", input.data or input.text


class ExtractTextInformationBlock(Block):
    """Takes parts out of a text."""

    id = "3146e4fe-2cdd-4f29-bd12-0c9d5bb4deb0"
    description = (
        "Emits what a regular expression of Python's finds in the text: each match on positive, or the text on "
        "negative, then all matches and how many. Other values than text are searched as their JSON. A search may take "
        "five seconds, a million characters of text and ten thousand matches; a malformed pattern is an error."
    )
    categories = TEXT
    effect = Effect.READ
    examples = (
        Example(
            {"text": "a=1, b=2", "pattern": r"(\w)=(\d)", "group": 2, "find_all": True},
            (("positive", "1"), ("positive", "2"), ("matched_results", ["1", "2"]), ("matched_count", 2)),
        ),
        Example(
            {"text": "none", "pattern": r"\d"}, (("negative", "none"), ("matched_results", []), ("matched_count", 0))
        ),
    )

    class Input(BlockInput):
        """A text, and what to take of it."""

        text: Any = pin("The text to search.")
        pattern: str = pin("The regular expression.", placeholder=r"(\w+)@example\.com")
        group: int = pin("Which group of a match to emit; 0 is all of it.", default=0)
        case_sensitive: bool = pin("Whether capitals differ from small letters.", default=True)
        dot_all: bool = pin("Whether a dot stands for a line's end, too.", default=True)
        find_all: bool = pin("Whether to go on after the first match.", default=False)

    class Output(BlockOutput):
        """The matches."""

        positive: str = pin("One match at a time.")
        negative: str = pin("The text, when nothing matched.")
        matched_results: list[str] = pin("All matches.")
        matched_count: int = pin("How many.")

    async def run(self, input: Input, context: Context) -> AsyncEmissions:
        """Emit the matches."""
        text = _as_text(input.text)
        request = Request(
            input.pattern, text, input.case_sensitive, input.dot_all, input.group, first_only=not input.find_all
        )
        found = await _search(request)
        for match in found:
            yield "positive", match
        if not found:
            yield "negative", text
        yield "matched_results", found
        yield "matched_count", len(found)


async def _search(request: Request) -> list[str]:
    """What `find` finds; raises `BlockError` with the reason when it cannot be done, or not within five seconds."""
    if len(request.text) > MAX_TEXT or len(request.pattern) > MAX_PATTERN:
        raise BlockError(f"at most {MAX_TEXT} characters of text and {MAX_PATTERN} of pattern can be searched")
    try:
        return find(request) if _is_harmless(request) else await _find_elsewhere(request)
    except PatternFailed as reason:
        raise BlockError(str(reason)) from None


def _is_harmless(request: Request) -> bool:
    return (
        len(request.text) <= _HARMLESS_TEXT
        and len(_REPETITION.findall(request.pattern)) <= 1
        and not _REPEATED_GROUP.search(request.pattern)
    )


async def _find_elsewhere(request: Request) -> list[str]:
    """`find` in a process of its own, which is ended when it takes too long."""
    program = [sys.executable, "-I", "-S", pattern_search.__file__]
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, stderr=nowhere, env={})
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate(json.dumps(request).encode())
    except TimeoutError:
        raise PatternFailed(f"the search took more than {SECONDS:g} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise PatternFailed("the search needed too much memory")
    answer = json.loads(output)
    if "error" in answer:
        raise PatternFailed(answer["error"])
    found: list[str] = answer["found"]
    return found


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()
