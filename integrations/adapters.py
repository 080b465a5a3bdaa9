"""How each provider names, signs and describes what it delivers. Pure: headers and the raw body in, an `Event` out.

Each adapter looks at the headers and the signature only; nothing in the body is read before it is known who sent it.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from core import strict_json
from core.idempotency import KEY, KEY_RULE
from integrations.errors import HeaderUnusable, PayloadNotAnObject, SignatureRefused
from integrations.kinds import Event, Provider

# How old, or how far ahead of our clock, the time of a signed delivery may be, in seconds.
TOLERANCE = 300
PLAIN = "plain"
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_EVENT = re.compile(r"[a-z_]{1,100}", re.ASCII)

Headers = Mapping[str, str]
# The headers, the raw body, the secrets that are good (none where nothing is signed), and the time it is.
Adapter = Callable[[Headers, bytes, Sequence[str], datetime], Event]


def github(headers: Headers, body: bytes, secrets: Sequence[str], now: datetime) -> Event:
    """GitHub's: the HMAC-SHA256 of the body under the secret, in X-Hub-Signature-256.

    Raises `HeaderUnusable` without the headers that name event and delivery, and `SignatureRefused`.
    """
    kind = headers.get("X-GitHub-Event", "")
    if not _EVENT.fullmatch(kind):
        raise HeaderUnusable("X-GitHub-Event is missing or names no event")
    delivery_id = _id_in(headers, "X-GitHub-Delivery")
    if delivery_id is None:
        raise HeaderUnusable("X-GitHub-Delivery is missing")
    given = headers.get("X-Hub-Signature-256", "").encode()
    if not _is_any(given, (b"sha256=" + _digest(secret.encode(), body).hex().encode() for secret in secrets)):
        raise SignatureRefused("X-Hub-Signature-256 is missing or wrong")
    return Event(kind, delivery_id, body, is_test=kind == "ping")


def generic(headers: Headers, body: bytes, secrets: Sequence[str], now: datetime) -> Event:
    """Anybody's; where there are secrets, signed as Standard Webhooks prescribe (https://www.standardwebhooks.com).

    It is named by the header webhook-id, else by Idempotency-Key. Raises `HeaderUnusable` and `SignatureRefused`.
    """
    delivery_id = _id_in(headers, "webhook-id")
    if secrets:
        _check_standard(delivery_id, headers, body, secrets, now)
    return Event(PLAIN, delivery_id or _id_in(headers, "Idempotency-Key"), body)


ADAPTERS: Mapping[Provider, Adapter] = {Provider.GITHUB: github, Provider.GENERIC: generic}


def read(payload: bytes) -> dict[str, Any]:
    """The value of a body whose sender is known; raises `MalformedJSON` and `PayloadNotAnObject`."""
    value = strict_json.parse(payload)
    if not isinstance(value, dict):
        raise PayloadNotAnObject
    return value


def kind_of(provider: Provider, event: Event) -> str:
    """What happened, with the action that GitHub tells in the body; raises what `read` raises."""
    action = read(event.payload).get("action")
    if provider is Provider.GITHUB and isinstance(action, str) and _EVENT.fullmatch(action):
        return f"{event.kind}.{action}"
    return event.kind


def _check_standard(
    delivery_id: str | None, headers: Headers, body: bytes, secrets: Sequence[str], now: datetime
) -> None:
    at = headers.get("webhook-timestamp", "")
    if delivery_id is None:
        raise HeaderUnusable("webhook-id is missing")
    if not _UNIX_SECONDS.fullmatch(at):
        raise HeaderUnusable("webhook-timestamp is missing or no number of seconds since 1970")
    if abs(int(at) - now.timestamp()) > TOLERANCE:
        raise SignatureRefused(f"webhook-timestamp is more than {TOLERANCE // 60} minutes away from our clock")
    signed = b".".join([delivery_id.encode(), at.encode(), body])
    wanted = [b"v1," + b64encode(_digest(_key(secret), signed)) for secret in secrets]
    # A sender that changes its secret signs with both for a while.
    if not any(_is_any(given, wanted) for given in headers.get("webhook-signature", "").encode().split(b" ")[:10]):
        raise SignatureRefused("webhook-signature is missing or wrong")


def _id_in(headers: Headers, name: str) -> str | None:
    value = headers.get(name)
    if value is not None and not KEY.fullmatch(value):
        raise HeaderUnusable(f"{name}: {KEY_RULE}")
    return value


def _key(secret: str) -> bytes:
    """What the libraries of Standard Webhooks sign with when they are given the secret: they take it for base64."""
    return b64decode(secret.removeprefix("whsec_"))


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _is_any(given: bytes, wanted: Iterable[bytes]) -> bool:
    """Whether it is one of them, in the same time wherever they differ."""
    return any(hmac.compare_digest(given, each) for each in wanted)
