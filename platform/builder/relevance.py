"""How well a text fits what somebody looks for. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

# What fits less is not shown.
LEAST = 10.0

_EXACT, _PREFIX, _CONTAINS = 120, 90, 60
_LIKE_NAME = 50
_IN_DESCRIPTION, _LIKE_DESCRIPTION = 30, 25
_MODEL = 20
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Extra:
    """A further text of a thing: what it is worth when it contains what is looked for, and by its likeness."""

    text: str
    contains: int
    like: int


def relevance(
    query: str, name: str, description: str, extras: Iterable[Extra] = (), models: Iterable[str] = ()
) -> float:
    """The points of a thing for a query; `models` are names of language models that it can be set to."""
    wanted = plain(query)
    found = plain(name)
    points = _LIKE_NAME * _likeness(wanted, found)
    if wanted == found:
        points += _EXACT
    elif found.startswith(wanted):
        points += _PREFIX
    elif wanted in found:
        points += _CONTAINS
    points += _worth(wanted, Extra(description, _IN_DESCRIPTION, _LIKE_DESCRIPTION))
    points += sum(_worth(wanted, extra) for extra in extras)
    if any(wanted in plain(model) for model in models):
        points += _MODEL
    return points


def plain(text: str) -> str:
    """The words of a text in lower case; a block's name without the word block."""
    words = _HUMPS.sub(" ", text).lower().split()
    return " ".join(words[:-1] if len(words) > 1 and words[-1] == "block" else words)


def _worth(wanted: str, extra: Extra) -> float:
    text = plain(extra.text)
    return extra.contains * (bool(text) and wanted in text) + extra.like * _likeness(wanted, text)


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
