"""Searching with a regular expression, here or as a program of its own that can be ended.

The program reads a `Request` as JSON, and writes what was found or the error. It imports little, to start soon.
"""

import json
import re
import sys
from typing import NamedTuple

SECONDS = 5.0
MAX_MATCHES = 10_000
MAX_MATCHED = 1_000_000
MAX_MEMORY = 512 * 1024 * 1024


class PatternFailed(Exception):
    """The search could not be done; the message says why."""


class Request(NamedTuple):
    """What to look for, and where. `group` is the part of a match to return, 0 for all of it."""

    pattern: str
    text: str
    case_sensitive: bool
    dot_all: bool
    group: int = 0
    first_only: bool = True


def find(request: Request) -> list[str]:
    """The matches in their order, each cut to the group; a match in which the group has no part is left out.

    Raises `PatternFailed` for a malformed pattern, a group that it does not have, and too much of a result.
    """
    flags = (0 if request.case_sensitive else re.IGNORECASE) | (re.DOTALL if request.dot_all else 0)
    try:
        pattern = re.compile(request.pattern, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternFailed(f"the pattern is malformed: {error}") from None
    if not 0 <= request.group <= pattern.groups:
        raise PatternFailed(f"the pattern has {pattern.groups} groups, so there is no group {request.group}")
    found: list[str] = []
    length = 0
    for match in pattern.finditer(request.text):
        part = match[request.group]
        if part is not None:
            found.append(part)
            length += len(part)
        if found and request.first_only:
            break
        if len(found) > MAX_MATCHES or length > MAX_MATCHED:
            raise PatternFailed(f"there are more than {MAX_MATCHES} matches, or {MAX_MATCHED} characters of them")
    return found


def _main() -> None:
    """Answer the request on standard input."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 1))
    try:
        answer: dict[str, object] = {"found": find(Request(*json.load(sys.stdin)))}
    except PatternFailed as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
