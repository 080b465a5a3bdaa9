"""The keys that an outside identity provider publishes (a JWKS), kept for a while."""

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import jwt

from accounts.errors import IdentityProviderUnavailable, TokenRefused
from core import strict_json
from core.errors import DomainError
from core.http import Client

KEEP_SECONDS = 600.0
# Tokens with an unknown `kid` are cheap to make and must not become requests to the provider.
RETRY_SECONDS = 30.0
FETCH_SECONDS = 5.0
_MAX_BYTES = 1_000_000

log = logging.getLogger(__name__)


def published_key(url: str, algorithm: str, kid: object) -> jwt.PyJWK:
    """The provider's key with this id for this algorithm; a token without an id may mean the only one.

    Raises `TokenRefused` when there is none, and `IdentityProviderUnavailable` when none was ever read.
    """
    return _key_set(url, algorithm).key(kid)


class KeySet:
    """The usable keys behind a URL. Read again every 10 minutes, and for an unknown id at most every 30 seconds.

    While the provider is away the keys read last stay good.
    """

    def __init__(self, url: str, algorithm: str) -> None:
        self._url = url
        self._algorithm = algorithm
        self._lock = Lock()
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._looked_at = -KEEP_SECONDS

    def key(self, kid: object) -> jwt.PyJWK:
        """The key with this id, read anew from the provider when that is due; fails as `published_key` does."""
        if kid is not None and not isinstance(kid, str):
            raise TokenRefused
        if self._is_due(kid):
            with self._lock:
                if self._is_due(kid):
                    self._look()
        keys = self._keys
        if kid in keys:
            return keys[kid]
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        if not keys:
            raise IdentityProviderUnavailable
        raise TokenRefused

    def _is_due(self, kid: str | None) -> bool:
        age = time.monotonic() - self._looked_at
        return age >= KEEP_SECONDS or (age >= RETRY_SECONDS and kid not in self._keys)

    def _look(self) -> None:
        try:
            found = asyncio.run(_fetch(self._url))
            self._keys = _usable(found, self._algorithm)
        except DomainError as error:
            log.error("The identity provider's keys could not be read: %s", error)
        finally:
            self._looked_at = time.monotonic()


@lru_cache(maxsize=8)
def _key_set(url: str, algorithm: str) -> KeySet:
    return KeySet(url, algorithm)


async def _fetch(url: str) -> Any:
    parts = urlsplit(url)
    # The operator names this address, which may well be inside of the own network.
    client = Client(allow=[f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"])
    try:
        answer = await client.request("GET", url, seconds=FETCH_SECONDS, max_bytes=_MAX_BYTES)
    finally:
        await client.close()
    if answer.status != 200:
        raise IdentityProviderUnavailable(f"The answer has the status {answer.status}")
    return strict_json.parse(answer.content)


def _usable(found: Any, algorithm: str) -> dict[str | None, jwt.PyJWK]:
    entries = found.get("keys") if isinstance(found, dict) else None
    keys: dict[str | None, jwt.PyJWK] = {}
    for entry in entries if isinstance(entries, list) else []:
        # What is published is no secret, so a symmetric key among it would be everybody's.
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        if entry.get("alg", algorithm) != algorithm:
            continue
        try:
            keys[entry.get("kid")] = jwt.PyJWK(entry, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.warning("The identity provider publishes a key that cannot be used: %s", error)
    if not keys:
        raise IdentityProviderUnavailable(f"There is no key for {algorithm} among them")
    return keys
