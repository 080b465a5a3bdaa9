"""Taking secrets out of a graph before it leaves the house.

A value goes when its pin is declared secret or its key says that it is one; in every text that stays, what looks
like a key, a token or a password is replaced. Better one number too many than one key.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from graphs.blocks.base import Kind
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock
from graphs.pinouts import NodeLike, pinout

REMOVED = "[removed]"

_SECRET_WORDS = frozenset(
    {
        "credential", "credentials", "password", "passwd", "passphrase", "pwd", "secret", "secrets", "token",
        "apikey", "authorization", "bearer", "cookie",
    }
)  # fmt: skip
_SECRET_ENDINGS = ("apikey", "secretkey", "accesskey", "privatekey", "password", "secret", "token")
_SECRET_PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("secret", "key"), ("private", "key"), ("auth", "key"), ("signing", "key")}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ASSIGNED = re.compile(
    r"(?i)\b((?:api|access|secret|private|auth)[_-]?key|apikey|password|passwd|pwd|client[_-]?secret|secret|"
    r"(?:access|refresh|auth|id)[_-]?token|token)(\"?'?[ \t]*[=:][ \t]*\"?'?)[^\s\"'&,;<>{}\[\]]{4,}"
)
_AUTHORIZED = re.compile(r"(?i)\b(bearer|basic)([ \t]+)([a-z0-9+/=_.~-]{8,})")
# What follows "bearer" and "basic" in prose.
_PROSE = re.compile(r"[A-Za-z]?[a-z]{0,15}(?:-[a-z]{1,15})*[.]*")
_URL_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@:]*:[^\s/@]+@")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_KNOWN_KEYS = re.compile(
    r"\btlk_[0-9a-f]{16}_[A-Za-z0-9_-]+|\b(?:sk|pk|rk|whsec)[-_][A-Za-z0-9_-]{8,}"
    r"|\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bA(?:KIA|SIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bhf_[A-Za-z0-9]{20,}|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
)
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")


def strip_node(node: NodeLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """The node's `input_default` and `metadata` without secrets; the node itself stays as it is."""
    constants = dict(node.input_default)
    schemas = {}
    try:
        block = BLOCKS.get(node.block_id)
    except UnknownBlock:
        pass
    else:
        for pin in pinout(block).secret:
            # The input blocks' own `secret` is a flag that says so, not a secret.
            if not isinstance(constants.get(pin), bool):
                constants.pop(pin, None)
        if block.kind in (Kind.INPUT, Kind.OUTPUT) and constants.get("secret") is True:
            constants.pop("value", None)
        if block.kind is Kind.AGENT:
            if "user_id" in constants:
                constants["user_id"] = ""
            schemas = {
                key: _strip_schema(constants.pop(key))
                for key in ("input_schema", "output_schema")
                if isinstance(constants.get(key), Mapping)
            }
    return {**strip_value(constants), **schemas}, strip_value(dict(node.metadata))


def strip_text(text: str) -> str:
    """`text` with whatever looks like a secret replaced by `[removed]`."""
    if text.startswith("data:"):
        return text
    text = _PRIVATE_KEY.sub(REMOVED, text)
    text = _URL_PASSWORD.sub(rf"\1{REMOVED}@", text)
    text = _AUTHORIZED.sub(_without_token, text)
    text = _KNOWN_KEYS.sub(REMOVED, text)
    text = _ASSIGNED.sub(rf"\1\2{REMOVED}", text)
    return _LONG_WORD.sub(lambda found: REMOVED if _is_random(found[0]) else found[0], text)


def strip_value(value: Any) -> Any:
    """A copy of a value of JSON without entries whose keys say that they are secret, its texts as `strip_text`."""
    if isinstance(value, str):
        return strip_text(value)
    if isinstance(value, Mapping):
        return {key: strip_value(item) for key, item in value.items() if not is_secret_key(key, item)}
    if isinstance(value, list):
        return [strip_value(item) for item in value]
    return value


def is_secret_key(key: str, value: Any) -> bool:
    """Whether a value under this key is a secret: judged by its words, so that `max_tokens` is none.

    A flag never is, and neither is a number called a token, which counts them.
    """
    if value is None or isinstance(value, bool):
        return False
    words = [word.lower() for word in _WORD.findall(key)]
    if isinstance(value, (int, float)) and "token" in words:
        return False
    if any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS) for word in words):
        return True
    return any(pair in _SECRET_PAIRS for pair in pairwise(words))


def _strip_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A stored schema names pins, and a pin called `password` is no password; only its default may be one."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(strip_value(schema))
    kept = {}
    for name, part in properties.items():
        part = part if isinstance(part, Mapping) else {}
        is_secret = part.get("secret") is True or is_secret_key(name, part.get("default"))
        kept[name] = strip_value({key: item for key, item in part.items() if not (is_secret and key == "default")})
    return {**strip_value({key: item for key, item in schema.items() if key != "properties"}), "properties": kept}


def _without_token(found: re.Match[str]) -> str:
    scheme, gap, token = found.groups()
    return found[0] if _PROSE.fullmatch(token) else f"{scheme}{gap}{REMOVED}"


def _is_random(word: str) -> bool:
    """Whether a long word looks drawn at random rather than written."""
    if _UUID.fullmatch(word):
        return False
    body = re.sub(r"[^A-Za-z0-9]", "", word)
    digits = sum(letter.isdigit() for letter in body)
    if digits == 0 or digits == len(body):
        return False
    if _HEX.fullmatch(body):
        return True
    kinds = [0 if c.isdigit() else 1 if c.islower() else 2 for c in body]
    changes = sum(a != b for a, b in pairwise(kinds)) / len(kinds)
    return digits >= 3 and changes >= 0.3 and _entropy(body) >= 3.5


def _entropy(word: str) -> float:
    """Bits per character."""
    return -sum(n / len(word) * math.log2(n / len(word)) for n in Counter(word).values())
